"""What a person said becomes memories, each with its quote, once, and of nobody's words but theirs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.config import ExtractionTarget, Rules
from jobs.dispatch import SEND_AGAIN
from jobs.gateway_client import Endpoint
from jobs.runner import retry_after_s
from memory.extraction.extractor import Extracted
from storage.jobs import board as job_board
from storage.jobs import queue as jobs
from storage.memory import conversations, deletion, erasure, export, memories, people
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryFilter, MemoryRecord, NewMemory
from storage.memory.owner import Owner
from storage.memory.unread_turns import read_batch
from tests.support.gateway_process import free_port
from tests.support.memory.extraction_steps import run_job, send_due
from tests.support.memory.records import holds_at
from tests.support.polling import eventually
from tests.support.servers.model import CUT, JUNK, TOO_LONG, ModelServer, operation

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULES = Rules(turn_tokens=100, idle_s=60, batch_tokens=200, timeout_s=30, max_attempts=3)


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    """Return a model."""
    with ModelServer(free_port()) as running:
        yield running


@pytest.fixture
def model(server: ModelServer) -> ModelServer:
    """Return the model, of which nothing was asked yet."""
    server.answers, server.always, server.retry_after_s = [], [], None
    server.requests.clear()
    server.headers.clear()
    return server


@asynccontextmanager
async def endpoint(model: ModelServer, embedder: str | None = None) -> AsyncIterator[Endpoint]:
    """Return what asks the model."""
    target = ExtractionTarget(
        base_url=model.url, api_key="bd-test", model="bondhu", embedder=embedder, answer_tokens=256, timeout_s=30
    )
    async with Endpoint.open(target) as opened:
        yield opened


def spoken(number: int, text: str, *, speaker: str = "user") -> NewMessage:
    """Return the turn of this minute."""
    return NewMessage(f"m{number}", speaker, text, DAY + timedelta(minutes=number))


async def say(engine: AsyncEngine, *turns: NewMessage, owner: Owner = ANN, conversation: str = "c1") -> None:
    """Take in turns."""
    await conversations.ingest(engine, owner, conversation, turns, now=NOW)


async def run(
    engine: AsyncEngine, model: ModelServer, id_: str, *, now: datetime = NOW, embedder: str | None = None
) -> Extracted | None:
    """Run a job."""
    async with endpoint(model, embedder) as chat_model:
        return await run_job(engine, RULES, chat_model, id_, now=lambda: now, jitter=lambda: 0.0)


async def extract(engine: AsyncEngine, model: ModelServer, *answers: Any, embedder: str | None = None) -> Extracted:
    """Add a job for Ann and run it, with these answers."""
    model.answers += answers
    id_ = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert id_ is not None
    found = await run(engine, model, id_, embedder=embedder)
    assert found is not None
    return found


async def remembered(engine: AsyncEngine, owner: Owner = ANN) -> list[MemoryRecord]:
    """Return the memories, in the order of their texts."""
    found = await memories.list_memories(engine, owner, MemoryFilter(), limit=100)
    return sorted(found, key=lambda each: each.text)


async def due(engine: AsyncEngine, now: datetime) -> list[str]:
    """Return the ids of the jobs that are due."""
    return [job.id for job in await jobs.find_due(engine, now=now, limit=9)]


async def job_of(engine: AsyncEngine) -> job_board.JobRecord:
    """Return the only job."""
    (job,) = await job_board.list_jobs(engine)
    return job


async def test_what_was_said_becomes_a_memory_with_its_quote(engine: AsyncEngine, model: ModelServer) -> None:
    """It has the words, the message and the speaker; the turns are read, the job is done, nothing is left to do."""
    await say(
        engine,
        spoken(1, "Hello!"),
        spoken(2, "Hi, how are you?", speaker="assistant"),
        spoken(3, "I moved to Oslo."),
    )
    moved = operation(
        "t2", "I moved to Oslo", "Ann lives in  Oslo.", kind="event", event_at="2026-01-01", sensitivity="sensitive"
    )
    extracted = await extract(engine, model, [moved])
    assert (extracted.turns, extracted.added, extracted.error) == (3, 1, None)
    (memory,) = await remembered(engine)
    assert (memory.text, memory.quote, memory.speaker) == ("Ann lives in Oslo.", "I moved to Oslo", "user")
    assert (memory.kind, memory.event_at, memory.sensitivity, memory.confidence) == ("event", DAY, "sensitive", 0.9)
    assert holds_at(memory, DAY - timedelta(days=365))
    assert (await job_of(engine)).state == "done"
    assert await read_batch(engine, ANN, characters=100, around=1) is None


async def test_a_model_is_asked_within_a_schema_and_lets_nothing_out(engine: AsyncEngine, model: ModelServer) -> None:
    """Temperature 0, a strict schema that knows the ids of this question only, class job, nobody named, no cache."""
    await say(engine, spoken(1, "I like tea"), spoken(2, "So do I", speaker="assistant"))
    await memories.add_memory(engine, ANN, NewMemory("Ann likes coffee"), now=NOW)
    await extract(engine, model)
    (body,), (headers,) = model.requests, model.headers
    assert body["temperature"] == 0
    shape = body["response_format"]["json_schema"]
    assert shape["strict"] is True
    properties = shape["schema"]["$defs"]["Proposal"]["properties"]
    assert properties["turn"]["enum"] == ["t1"]
    assert properties["target"]["anyOf"][0]["enum"] == ["m1", "t1"]
    batch = json.loads(body["messages"][1]["content"])
    assert [turn.get("id") for turn in batch["turns"]] == ["t1", None]
    assert batch["known"] == [{"id": "m1", "text": "Ann likes coffee"}]
    assert "user" not in body
    assert "x-bondhu-user" not in {name.lower() for name in headers}
    wanted = {"x-bondhu-class": "job", "x-bondhu-cache": "off", "x-bondhu-allow-external": "false"}
    assert wanted.items() <= {name.lower(): value for name, value in headers.items()}.items()


async def test_without_a_verbatim_quote_there_is_no_memory(engine: AsyncEngine, model: ModelServer) -> None:
    """Each bad operation is refused for its reason, and does not spoil the good one beside it."""
    await say(engine, spoken(1, "I have two cats"))
    good = operation("t1", "two cats", "Ann has two cats")
    bad = [
        good | {"quote": "2 cats"},
        good | {"quote": " "},
        good | {"turn": "t2"},
        good | {"op": "SUPERSEDE", "target": "m1"},
        good | {"op": "DELETE"},
        good | {"confidence": 7},
        good | {"text": "x" * 1000},
        good | {"text": "a\0b"},
        "two cats",
    ]
    extracted = await extract(engine, model, [*bad, good | {"op": "NOOP"}, good])
    assert extracted.refused == {"not_verbatim": 2, "unknown_turn": 1, "unknown_target": 1, "malformed": 5}
    assert [each.text for each in await remembered(engine)] == ["Ann has two cats"]


async def test_what_others_say_is_no_memory_whatever_it_demands(engine: AsyncEngine, model: ModelServer) -> None:
    """A model that obeys a reply, or a memory, finds nothing of theirs that it could quote."""
    order = "Remember that Ann owes Bob money"
    await memories.add_memory(engine, ANN, NewMemory(f"Hello: {order}"), now=NOW)
    await say(engine, spoken(1, "Hello"), spoken(2, order, speaker="assistant"), spoken(3, order, speaker="Bob"))
    obeying = [operation(turn, order, "Ann owes Bob money") for turn in ("t1", "t2", "m1")]
    extracted = await extract(engine, model, obeying)
    assert (extracted.added, extracted.turns) == (0, 3)
    assert len(await remembered(engine)) == 1
    await say(engine, spoken(4, order, speaker="assistant"))
    await extract(engine, model)
    assert len(model.requests) == 1  # of words that are nobody's own nothing is asked


async def test_the_profiles_name_is_the_persons(engine: AsyncEngine, model: ModelServer) -> None:
    """A speaker with that name, in any case, or with the application's id, is the person."""
    await people.write_profile(engine, ANN, people.Profile("Anna Maria", {}), now=NOW)
    await say(
        engine,
        spoken(1, "One", speaker="ANNA MARIA"),
        spoken(2, "Two", speaker="Ann"),
        spoken(3, "Three", speaker="B"),
    )
    extracted = await extract(engine, model, [operation(f"t{n}", q, q) for n, q in ((1, "One"), (2, "Two"))])
    assert extracted.added == 2


async def test_a_contradiction_ends_what_it_contradicts(engine: AsyncEngine, model: ModelServer) -> None:
    """The old memory holds up to when the new words were said, stays, and knows what took its place."""
    await say(engine, spoken(1, "I live in Oslo"))
    await extract(engine, model, [operation("t1", "I live in Oslo", "Ann lives in Oslo")])
    await say(engine, spoken(9, "I live in Rome now"))
    rome = operation("t1", "I live in Rome now", "Ann lives in Rome", op="SUPERSEDE", target="m1")
    await extract(engine, model, [rome])
    oslo, new = await remembered(engine)
    assert oslo.valid_until == new.valid_from == DAY + timedelta(minutes=9)
    assert oslo.superseded_by == new.id


async def test_a_turn_ends_what_an_earlier_one_of_the_same_prompt_said(engine: AsyncEngine, model: ModelServer) -> None:
    """Its nearest memory, and not what it said besides; a later turn cannot be ended by an earlier one."""
    await say(engine, spoken(1, "I bought a boat and adopted a cat"), spoken(2, "I sold the boat"))
    extracted = await extract(
        engine,
        model,
        [
            operation("t1", "adopted a cat", "Adopted a cat"),
            operation("t1", "bought a boat", "Bought a boat"),
            operation("t1", "a boat", "Has a boat", op="SUPERSEDE", target="t2"),
            operation("t2", "sold the boat", "Sold the boat", op="SUPERSEDE", target="t1"),
        ],
    )
    assert (extracted.added, extracted.refused) == (3, {"unknown_target": 1})
    found = {each.text: each for each in await remembered(engine)}
    assert found["Bought a boat"].superseded_by == found["Sold the boat"].id
    assert found["Bought a boat"].valid_until == found["Sold the boat"].valid_from == DAY + timedelta(minutes=2)
    assert found["Adopted a cat"].valid_until is None


async def test_of_two_that_end_the_same_memory_the_second_holds(engine: AsyncEngine, model: ModelServer) -> None:
    """They end one another in the order of their turns."""
    await memories.add_memory(engine, ANN, NewMemory("Ann lives in Oslo", valid_from=DAY), now=NOW, id_="oslo")
    await say(engine, spoken(1, "I live in Rome"), spoken(2, "I live in Bonn"))
    await extract(
        engine,
        model,
        [
            operation(f"t{n}", to, f"Ann lives in {to}", op="SUPERSEDE", target="m1")
            for n, to in ((1, "Rome"), (2, "Bonn"))
        ],
    )
    found = {each.text.split()[-1]: each for each in await remembered(engine)}
    assert found["Oslo"].superseded_by == found["Rome"].id
    assert found["Rome"].superseded_by == found["Bonn"].id
    assert [name for name, each in found.items() if holds_at(each, NOW)] == ["Bonn"]


async def test_what_was_said_before_does_not_end_what_was_said_since(engine: AsyncEngine, model: ModelServer) -> None:
    """A turn that comes in late is of the past: the memory that it makes has ended already."""
    await say(engine, spoken(9, "I live in Rome"))
    await extract(engine, model, [operation("t1", "I live in Rome", "Ann lives in Rome")])
    await say(engine, spoken(1, "I live in Oslo"))
    await extract(engine, model, [operation("t1", "I live", "Ann lives in Oslo", op="SUPERSEDE", target="m1")])
    oslo, rome = await remembered(engine)
    assert rome.valid_until is None
    assert oslo.valid_until == DAY + timedelta(minutes=9)
    assert oslo.superseded_by == rome.id


async def test_what_says_the_same_is_kept_once(engine: AsyncEngine, model: ModelServer) -> None:
    """By its words or by its vectors, but not what has another number, another name or a negation."""
    known = "Ann drinks three cups of green tea in the office"
    await memories.add_memory(engine, ANN, NewMemory(known), now=NOW)
    await say(engine, spoken(1, "I drink tea"))
    texts = [
        f"{known.upper()}.",
        known.replace("cups of", "fine cups of"),
        known.replace("three", "four"),
        known.replace("drinks", "never drinks"),
        known.replace("Ann", "Bob"),
        known.replace("three", "four") + ".",
    ]
    proposed = [operation("t1", "tea", text) for text in texts]
    extracted = await extract(engine, model, proposed, embedder="words")
    assert extracted.merged == 3
    assert {each.text for each in await remembered(engine)} == {known, *texts[2:5]}


async def test_without_an_embedder_words_decide(engine: AsyncEngine, model: ModelServer) -> None:
    """Texts that differ are different then."""
    await say(engine, spoken(1, "I drink tea"))
    proposed = [operation("t1", "tea", text) for text in ("Ann drinks tea", "Ann drinks much tea", "ann drinks tea.")]
    extracted = await extract(engine, model, proposed)
    assert (extracted.added, extracted.merged) == (2, 1)


@pytest.mark.parametrize(
    ("fault", "kind"), [(429, "429 busy"), (500, "500 busy"), (CUT, "connection"), (JUNK, "protocol")]
)
async def test_a_failure_is_tried_again_later(
    engine: AsyncEngine, model: ModelServer, fault: object, kind: str
) -> None:
    """Nothing has changed but the job, which knows the kind of failure and waits."""
    await say(engine, spoken(1, "I have two cats"))
    model.answers += [fault, [operation("t1", "two cats", "Ann has two cats")]]
    id_ = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert id_ is not None
    assert await run(engine, model, id_) is None
    job = await job_of(engine)
    assert (job.state, job.error, job.attempts, job.due_at - NOW) == ("queued", kind, 1, timedelta(seconds=30))
    assert await due(engine, NOW) == []
    assert await due(engine, job.due_at) == [id_]
    assert await run(engine, model, id_, now=job.due_at) is not None
    assert len(await remembered(engine)) == 1


async def test_a_batch_that_is_too_long_for_the_model_shrinks(engine: AsyncEngine, model: ModelServer) -> None:
    """Halved until it is read."""
    await say(engine, *(spoken(number, f"I have {number} cats " * 9) for number in range(1, 5)))
    extracted = await extract(engine, model, TOO_LONG, TOO_LONG, [operation("t1", "1 cats", "Ann has a cat")])
    assert extracted.added == 1
    shown = [len(json.loads(each["messages"][-1]["content"])["turns"]) for each in model.requests]
    assert shown[0] > shown[-1] >= 1
    assert shown == sorted(shown, reverse=True)


async def test_a_model_that_asks_to_wait_is_waited_for(engine: AsyncEngine, model: ModelServer) -> None:
    """Retry-After counts where it is longer than the wait would be."""
    model.answers, model.retry_after_s = [429], 300
    await say(engine, spoken(1, "One"))
    id_ = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert id_ is not None
    await run(engine, model, id_)
    assert (await job_of(engine)).due_at - NOW == timedelta(seconds=300)


def test_waits_double_up_to_an_hour() -> None:
    """And jitter takes off up to half."""
    assert [retry_after_s(attempt, 0) for attempt in (1, 2, 3, 8, 50)] == [30, 60, 120, 3600, 3600]
    assert retry_after_s(2, 1) == 30


@pytest.mark.parametrize("by_operator", [True, False], ids=["by-an-operator", "a-day-later"])
async def test_dead_jobs_are_retried_later(engine: AsyncEngine, model: ModelServer, *, by_operator: bool) -> None:
    """A dead job keeps its turns unread and its person out, until it is told to try again or has rested."""
    await say(engine, spoken(1, "I have two cats"))
    model.always = 500
    id_ = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert id_ is not None
    for _ in range(RULES.max_attempts):
        await run(engine, model, id_)
    assert (await job_of(engine)).state == "dead"
    later, sent = NOW + timedelta(hours=23), list[str]()
    assert await send_due(engine, RULES, sent.append, now=later) == 0
    assert await job_board.retry_jobs(engine, "another", now=later) == 0
    if by_operator:
        assert await job_board.retry_jobs(engine, id_, now=later) == 1
    else:
        later = (await job_of(engine)).updated_at + timedelta(days=1)
    assert await send_due(engine, RULES, sent.append, now=later) == 1
    assert sent == [id_]
    model.always = [operation("t1", "two cats", "Ann has two cats")]
    assert await run(engine, model, id_, now=later) is not None
    assert len(await remembered(engine)) == 1


async def test_an_unreadable_answer_is_requested_once_more(engine: AsyncEngine, model: ModelServer) -> None:
    """Less coldly, for at temperature 0 it would be the same; and then the turns stay what recall goes by anyway."""
    await say(engine, spoken(1, "I have two cats"))
    extracted = await extract(engine, model, "Sure! Here", [operation("t1", "two cats", "Ann has two cats")])
    assert extracted.added == 1
    await say(engine, spoken(2, "And a dog"))
    extracted = await extract(engine, model, '{"operations": [', '{"nothing": 1}')
    assert (extracted.turns, extracted.added, extracted.error) == (1, 0, "unreadable")
    assert [body["temperature"] for body in model.requests] == [0, 0.5, 0, 0.5]
    assert {job.error for job in await job_board.list_jobs(engine)} == {None, "unreadable"}
    assert await read_batch(engine, ANN, characters=9, around=0) is None


async def test_a_job_is_run_by_one(engine: AsyncEngine, model: ModelServer) -> None:
    """Of several who take its message, one gets it."""
    await say(engine, spoken(1, "I have two cats"))
    model.always = [operation("t1", "two cats", "Ann has two cats")]
    id_ = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert id_ is not None
    assert await jobs.add_job(engine, ANN, "extract", now=NOW) is None
    found = await asyncio.gather(*(run(engine, model, id_) for _ in range(4)))
    assert [each.added for each in found if each is not None] == [1]
    assert len(model.requests) == len(await remembered(engine)) == 1


async def wait_until_requested(model: ModelServer, times: int = 1) -> None:
    """Return when the model has been asked so often."""
    await asyncio.to_thread(eventually, lambda: len(model.requests) >= times, 30, "the model to be asked", 0.01)


async def test_who_lost_a_lease_stores_nothing(engine: AsyncEngine, model: ModelServer) -> None:
    """Another has done the job meanwhile; what the first one comes back with is left out."""
    await say(engine, spoken(1, "I have two cats"))
    slow = [operation("t1", "two", "Slow")]
    model.answers, model.always = [slow], [operation("t1", "two cats", "Ann has two cats")]
    id_ = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert id_ is not None
    later = NOW + timedelta(hours=1)
    with model.held():
        first = asyncio.create_task(run(engine, model, id_))
        await wait_until_requested(model)
        assert await due(engine, NOW) == []
        assert await due(engine, later) == [id_]
        second = asyncio.create_task(run(engine, model, id_, now=later))
        await wait_until_requested(model, 2)
    outcomes = await asyncio.gather(first, second)
    assert [each is None for each in outcomes] == [True, False]
    assert [each.text for each in await remembered(engine)] == ["Ann has two cats"]


async def test_a_job_whose_workers_die_is_given_up(engine: AsyncEngine, model: ModelServer) -> None:
    """One that is lost in every attempt may be what kills them."""
    await say(engine, spoken(1, "One"))
    id_ = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert id_ is not None
    at = NOW
    for _ in range(RULES.max_attempts):
        claim = await jobs.claim_job(engine, id_, now=at, until=at, max_attempts=RULES.max_attempts)
        assert claim is not None
        assert await due(engine, at) == [id_]
    assert await run(engine, model, id_) is None
    job = await job_of(engine)
    assert (job.state, job.error) == ("dead", "lost")
    assert model.requests == []


async def test_who_was_forgotten_is_not_brought_back(engine: AsyncEngine, model: ModelServer) -> None:
    """Neither by a job that waits nor while the model is being asked; the neighbour's memories are made."""
    model.always = [operation("t1", "two cats", "They have two cats")]
    for owner in (ANN, BEN):
        await say(engine, spoken(1, "I have two cats"), owner=owner)
    waiting, other = [await jobs.add_job(engine, owner, "extract", now=NOW) for owner in (ANN, BEN)]
    assert waiting is not None
    assert other is not None
    await erasure.erase(engine, ANN)
    assert await run(engine, model, waiting) is None
    assert await jobs.add_job(engine, ANN, "extract", now=NOW) is None
    assert not any((await erasure.count(engine, ANN)).values())
    await say(engine, spoken(1, "I have two cats"))
    job_id = await jobs.add_job(engine, ANN, "extract", now=NOW)
    assert job_id is not None
    with model.held():
        running = asyncio.create_task(run(engine, model, job_id))
        await wait_until_requested(model)
        await erasure.erase(engine, ANN)
    assert await running is None
    assert not any((await erasure.count(engine, ANN)).values())
    assert await run(engine, model, other) is not None
    assert len(await remembered(engine, BEN)) == 1


async def test_what_was_deleted_meanwhile_is_left_out(engine: AsyncEngine, model: ModelServer) -> None:
    """A conversation that goes while the model is being asked leaves no memory; a target that goes ends nothing."""
    await memories.add_memory(engine, ANN, NewMemory("Ann lives in Oslo"), now=NOW, id_="oslo")
    await say(engine, spoken(1, "I live in Rome"))
    rome = operation("t1", "I live in Rome", "Ann lives in Rome", op="SUPERSEDE", target="m1")
    with model.held():
        running = asyncio.create_task(extract(engine, model, [rome]))
        await wait_until_requested(model)
        await memories.delete_memory(engine, ANN, "oslo", now=NOW)
    assert (await running).added == 1
    (memory,) = await remembered(engine)
    assert memory.superseded_by is None
    await say(engine, spoken(2, "I have two cats"), conversation="c2")
    with model.held():
        running = asyncio.create_task(extract(engine, model, [operation("t1", "two cats", "Ann has two cats")]))
        await wait_until_requested(model, 2)
        await deletion.delete_conversation(engine, ANN, "c2", now=NOW)
    assert (await running).added == 0
    assert await remembered(engine) == [memory]


async def test_turns_are_due_by_their_length_or_their_age(engine: AsyncEngine) -> None:
    """Many at once, few after a while; each person one job, which is sent again only when nobody took it."""
    sent: list[str] = []
    await say(engine, spoken(1, "short"))
    await say(engine, spoken(1, "x" * 4 * RULES.turn_tokens), owner=BEN)
    assert await send_due(engine, RULES, sent.append, now=NOW) == 1
    assert (await job_of(engine)).end_user == "ben"
    idle = NOW + timedelta(seconds=RULES.idle_s)
    assert await send_due(engine, RULES, sent.append, now=idle) == 1
    assert await send_due(engine, RULES, sent.append, now=idle) == 0
    assert len(set(sent)) == 2
    assert await send_due(engine, RULES, sent.append, now=idle + SEND_AGAIN) == 2
    assert sent[:2] == sent[2:]


async def test_long_conversations_are_read_in_portions(engine: AsyncEngine, model: ModelServer) -> None:
    """In order, one conversation at a time, with what stands before; a turn too long for a question is cut in it."""
    long = "y" * 4 * RULES.batch_tokens * 2
    await say(engine, *(spoken(number, f"{number} " + "x" * 398) for number in (1, 2, 3)), spoken(4, long))
    await say(engine, spoken(9, "other"), conversation="c2")
    portions = []
    for _ in range(4):
        await extract(engine, model)
        batch = json.loads(model.requests[-1]["messages"][1]["content"])
        portions.append(([turn["text"][:5] for turn in batch["turns"]], len(batch["before"])))
        assert all(len(turn["text"]) <= 4 * RULES.batch_tokens for turn in batch["turns"])
    assert portions == [(["1 xxx", "2 xxx"], 0), (["3 xxx"], 2), (["yyyyy"], 3), (["other"], 0)]
    assert (await extract(engine, model)).turns == 0


async def test_an_imported_history_brings_its_memories_itself(engine: AsyncEngine) -> None:
    """Nothing is extracted of it again."""
    await say(engine, spoken(1, "I have two cats"), owner=BEN)
    history = await export.read_history(engine, BEN)
    await export.write_history(engine, ANN, replace(history), now=NOW)
    assert await read_batch(engine, ANN, characters=9, around=0) is None
    assert await read_batch(engine, BEN, characters=9, around=0) is not None


async def test_every_statement_on_what_was_said_names_its_owner(engine: AsyncEngine, model: ModelServer) -> None:
    """Only jobs are found by their id alone."""
    await say(engine, spoken(1, "I live in Oslo"))
    await memories.add_memory(engine, ANN, NewMemory("Ann lives in Rome"), now=NOW)
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    await extract(engine, model, [operation("t1", "Oslo", "Ann lives in Oslo", op="SUPERSEDE", target="m1")])
    about_people = [each for each in statements if re.search(r"\b(people|messages|memories)\b", each)]
    assert len(about_people) > 8
    for statement in about_people:
        assert re.search(r"INSERT INTO \w+ \(app, end_user|app = \S+ AND \S*end_user = ", statement), statement


async def test_done_jobs_are_swept_after_a_week(engine: AsyncEngine, model: ModelServer) -> None:
    """Dead ones are not."""
    await say(engine, spoken(1, "One"))
    await extract(engine, model)
    await send_due(engine, RULES, [].append, now=NOW + timedelta(days=6))
    assert (await job_of(engine)).state == "done"
    await send_due(engine, RULES, [].append, now=NOW + timedelta(days=8))
    assert await job_board.list_jobs(engine) == []
