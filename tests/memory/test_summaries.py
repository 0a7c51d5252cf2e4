"""Summaries of conversations: made of due turns, by a model or without one, and never longer there than their turns."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs import dispatch, runner
from jobs.config import ExtractionTarget, SummaryPlan
from jobs.kinds.summaries import summaries_handler, summarise
from jobs.runner import JobRun
from jobs.schedule import Schedules
from memory.document_reader import DocumentReader
from memory.document_writer import write_document
from memory.erasure import Forgetter
from memory.extraction.extractor import ModelAway
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from memory.summaries.own_sentences import summary_of
from memory.summaries.question import read_answer
from storage.jobs import board, queue
from storage.memory import conversations, deletion, erasure, export
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryFilter, MemoryRecord, NewMemory, add_memory, delete_memory, list_memories
from storage.memory.owner import Owner
from storage.memory.set_aside import Aside, put_back
from storage.memory.summaries import SummaryRules, read_segment, sources_of
from storage.memory.unread_turns import Turn

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULES = SummaryRules(turns=6, newer=2, idle_turns=4, idle_s=3600)
PLAN = SummaryPlan(rules=RULES)
TEXTS = (
    "I have a cat called Pixel.",
    "That is a lovely name!",
    "Pixel is a grey cat and sleeps on my piano.",
    "Do you play the piano?",
    "Yes, I practise the piano for my exam on 12 May.",
    "Good luck!",
    "What is the weather like?",
    "Sunny.",
)


async def talk(
    engine: AsyncEngine, owner: Owner = ANN, *, texts: tuple[str, ...] = TEXTS, name: str = "c"
) -> list[str]:
    """Take in turns, of the person and of the friend by turns; return their ids."""
    turns = [
        NewMessage(f"m{n}", "user" if n % 2 == 0 else "assistant", text, DAY + timedelta(minutes=n))
        for n, text in enumerate(texts)
    ]
    taken = await conversations.ingest(engine, owner, name, turns, now=NOW)
    return [taken.ids[turn.external_id] for turn in turns]


async def work(engine: AsyncEngine, plan: SummaryPlan = PLAN, *, now: datetime = NOW, times: int = 1) -> None:
    """Do what a worker with this plan finds to do, so many times."""
    for _ in range(times):
        handlers = {"summarise": summaries_handler(plan)}
        sent: list[queue.DueJob] = []
        await dispatch.send_due(engine, handlers, Schedules(), sent.append, now=now)
        for job in sent:
            await runner.run_job(engine, handlers, job.id, now=lambda: now, jitter=lambda: 0.0)


async def summaries(engine: AsyncEngine, owner: Owner = ANN) -> list[MemoryRecord]:
    """Return what there is of somebody."""
    return await list_memories(engine, owner, MemoryFilter(kinds=["summary"]), limit=100)


class Scripted:
    """A model that says one thing, or is away."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer
        self.messages: Any = None

    async def ask(self, messages: Any, schema: Any, temperature: float) -> str:
        """Return it."""
        self.messages = messages
        if self.answer is None:
            raise ModelAway("503")
        return self.answer

    async def embed(self, texts: Any) -> None:
        """Return nothing."""


async def run_with(engine: AsyncEngine, model: Scripted, plan: SummaryPlan = PLAN) -> None:
    """Run Ann's job with a model."""
    id_ = await queue.add_job(engine, ANN, "summarise", now=NOW)
    assert id_ is not None

    async def run(job: JobRun) -> Any:
        return await summarise(job, plan, model)

    handlers = {"summarise": runner.Handler(run, max_attempts=plan.max_attempts)}
    await runner.run_job(engine, handlers, id_, now=lambda: NOW, jitter=lambda: 0.0)


async def test_a_long_conversation_gets_a_summary_with_its_turns(engine: AsyncEngine) -> None:
    """It names the earliest turns, in order, and says in the person's own words what they told; once."""
    ids = await talk(engine)
    await work(engine, times=3)
    (made,) = await summaries(engine)
    assert (made.kind, made.event_at, made.sensitivity) == ("summary", DAY + timedelta(minutes=5), "ordinary")
    assert "Pixel is a grey cat and sleeps on my piano." in made.text
    assert "lovely" not in made.text, "not the friend's words"
    assert await sources_of(engine, ANN, [made.id]) == {made.id: ids[:6]}
    assert await sources_of(engine, BEN, [made.id]) == {}
    (job,) = await board.list_jobs(engine)
    assert job.result == {"turns": 6, "by": "rules", "memory": made.id}


@pytest.mark.parametrize(("count", "silent_h", "due"), [(8, 0, True), (7, 0, False), (7, 2, True), (3, 2, False)])
async def test_when_turns_are_due(engine: AsyncEngine, count: int, silent_h: int, due: bool) -> None:
    """With enough of them and newer ones behind; or with fewer, after a silence."""
    await talk(engine, texts=TEXTS[:count])
    now = NOW + timedelta(hours=silent_h)
    await work(engine, now=now)
    assert bool(await summaries(engine)) is due


async def test_a_model_writes_it(engine: AsyncEngine) -> None:
    """It is given the turns as data, and what it wrote of them is stored."""
    await talk(engine)
    text = "They have a grey cat called Pixel and practise the piano for an exam on 12 May."
    model = Scripted(json.dumps({"summary": text}))
    await run_with(engine, model)
    (made,) = await summaries(engine)
    assert (made.text, made.confidence) == (text, 0.8)
    turns = json.loads(model.messages[1]["content"])["turns"]
    assert [turn["own"] for turn in turns] == [True, False] * 3


@pytest.mark.parametrize(
    "answer",
    [
        "They have a cat.",
        json.dumps({"summary": ""}),
        json.dumps({"summary": "The weather in Lisbon was stormy, and the ferries stayed in the harbour."}),
        json.dumps({"summary": "They have a grey cat called Pixel and an exam of the piano on 13 May."}),
        json.dumps({"summary": "cat " * 400}),
    ],
)
async def test_what_a_model_makes_up_is_not_stored(engine: AsyncEngine, answer: str) -> None:
    """No JSON, nothing, other words, other numbers, too much: then it is made of the person's own sentences."""
    await talk(engine)
    await run_with(engine, Scripted(answer))
    (made,) = await summaries(engine)
    assert made.text.startswith("A conversation of 2026-01-01, 6 messages. They said: “")


async def test_without_its_model_it_waits_and_then_does_without(engine: AsyncEngine) -> None:
    """A failed attempt is tried again; in the last one the rules make it."""
    await talk(engine)
    await run_with(engine, Scripted(None))
    assert await summaries(engine) == []
    (job,) = await board.list_jobs(engine)
    assert (job.state, job.error) == ("queued", "503")
    await board.cancel_job(engine, job.id, now=NOW)
    await run_with(engine, Scripted(None), SummaryPlan(rules=RULES, max_attempts=1))
    assert len(await summaries(engine)) == 1


async def test_a_summary_goes_with_any_of_its_turns(engine: AsyncEngine) -> None:
    """The next one is made without it, of turns that are there."""
    ids = await talk(engine)
    await work(engine)
    (made,) = await summaries(engine)
    gone = await deletion.delete_items(engine, ANN, turns=[ids[2]], memories=[], now=NOW)
    assert (made.id in gone.memories, made.id in gone.drawn) == (True, True)
    assert await summaries(engine) == []
    counts = await deletion.count_items(engine, ANN, turns=[ids[2]], memories=[made.id])
    assert not any(counts.values())
    await work(engine, now=NOW + timedelta(hours=2))
    (again,) = await summaries(engine)
    assert "grey" not in again.text
    assert ids[2] not in (await sources_of(engine, ANN, [again.id]))[again.id]


async def test_a_deleted_summary_does_not_come_back(engine: AsyncEngine) -> None:
    """The person wanted none of it; its turns stay."""
    ids = await talk(engine)
    await work(engine)
    (made,) = await summaries(engine)
    await delete_memory(engine, ANN, made.id, now=NOW)
    await work(engine, now=NOW + timedelta(hours=2), times=2)
    assert await summaries(engine) == []
    assert len(await conversations.find_messages(engine, ANN, ids)) == 8


async def test_a_wish_takes_a_summary_for_good(engine: AsyncEngine) -> None:
    """It is not set aside; what is put back is summarised again."""
    ids = await talk(engine)
    await work(engine)
    aside = Aside("w", NOW + timedelta(days=1))
    (made,) = await summaries(engine)
    await deletion.delete_items(engine, ANN, turns=[ids[0]], memories=[made.id], now=NOW, aside=aside)
    assert await summaries(engine) == []
    back = await put_back(engine, ANN, "w", now=NOW)
    assert back is not None
    assert (back.turns, back.memories) == (1, 0)
    await work(engine)
    (again,) = await summaries(engine)
    assert await sources_of(engine, ANN, [again.id]) == {again.id: ids[:6]}


async def test_muted_turns_are_in_no_summary(engine: AsyncEngine) -> None:
    """Neither in one that there is when they are muted, nor in the next; and a painful one makes it painful."""
    ids = await talk(engine)
    await work(engine)
    (made,) = await summaries(engine)
    muted = NewMemory(TEXTS[2], quote=TEXTS[2], message_id=ids[2], muted=True)
    await add_memory(engine, ANN, muted, now=NOW)
    assert await summaries(engine) == []
    painful = NewMemory(TEXTS[4], quote=TEXTS[4], message_id=ids[4], painful_at=NOW, sensitivity="sensitive")
    await add_memory(engine, ANN, painful, now=NOW)
    await work(engine)
    (again,) = await summaries(engine)
    assert "grey" not in again.text
    assert (again.painful_at, again.sensitivity) == (NOW, "sensitive")
    assert again.id != made.id
    assert ids[2] not in (await sources_of(engine, ANN, [again.id]))[again.id]


async def test_it_is_stored_only_of_turns_that_are_still_there(engine: AsyncEngine) -> None:
    """A turn that was forgotten while the model wrote: nothing of it is stored, and the rest is due again."""
    ids = await talk(engine)
    deleting = Scripted(json.dumps({"summary": "They have a grey cat called Pixel and practise the piano."}))
    ask = deleting.ask

    async def ask_meanwhile(*params: Any) -> str:
        await deletion.delete_items(engine, ANN, turns=[ids[2]], memories=[], now=NOW)
        return await ask(*params)

    deleting.ask = ask_meanwhile  # type: ignore[method-assign]
    await run_with(engine, deleting)
    assert await summaries(engine) == []
    segment = await read_segment(engine, ANN, RULES, before=NOW + timedelta(days=1))
    assert segment is not None
    assert [turn.id for turn in segment.turns] == [id_ for id_ in ids if id_ != ids[2]][:6]


async def test_a_person_forgotten_meanwhile_stays_forgotten(engine: AsyncEngine) -> None:
    """The job ends without a trace."""
    await talk(engine)
    erasing = Scripted(json.dumps({"summary": "They have a grey cat called Pixel and practise the piano."}))
    ask = erasing.ask

    async def ask_meanwhile(*params: Any) -> str:
        await erasure.erase(engine, ANN)
        return await ask(*params)

    erasing.ask = ask_meanwhile  # type: ignore[method-assign]
    await run_with(engine, erasing)
    assert not any((await erasure.count(engine, ANN)).values())


async def test_it_moves_with_the_person(engine: AsyncEngine) -> None:
    """An export has its sources, an import knows them under their new ids, and none is made of what was taken in."""
    await talk(engine)
    await work(engine)
    document = write_document(await export.read_history(engine, ANN))
    history = await DocumentReader({}, 10).read(document)
    moved = await export.write_history(engine, BEN, history, now=NOW)
    assert (moved.new_messages, moved.new_memories) == (8, 1)
    (made,) = await summaries(engine, BEN)
    sources = (await sources_of(engine, BEN, [made.id]))[made.id]
    turns = await conversations.find_messages(engine, BEN, sources)
    assert [turns[id_].text for id_ in sources] == list(TEXTS[:6])
    again = await export.write_history(engine, BEN, history, now=NOW)
    assert (again.new_memories, again.known_memories) == (0, 1)
    await work(engine, now=NOW + timedelta(days=1), times=2)
    assert len(await summaries(engine, BEN)) == 1


async def test_it_is_recalled_and_leaves_recall_with_its_turn(
    engine: AsyncEngine, store: MemoryService, make_index_cache: Callable[..., IndexCache]
) -> None:
    """As any memory; an index that had it no longer has it."""
    ids = await talk(engine)
    await work(engine)
    (made,) = await summaries(engine)
    found = await store.recall(ANN, "Which cat sleeps on the piano?", limit=20)
    assert made.id in [each.record.id for each in found]
    forgetter = Forgetter(engine, make_index_cache(), {}, lambda: NOW)
    _, receipt = await forgetter.items(ANN, turns=[ids[0]])
    assert receipt.is_complete
    found = await store.recall(ANN, "Which cat sleeps on the piano?", limit=20)
    assert found
    assert made.id not in [each.record.id for each in found]


def test_without_a_model_nothing_is_reworded() -> None:
    """Up to three sentences, word for word, in order; questions and small talk only where there is nothing else."""
    texts = ("Hi!", "My sister Asha lives in Oslo. How are you?", "Asha studies law in Oslo.", "I baked bread.", "Bye.")
    turns = [Turn(str(n), "user", text, DAY + timedelta(days=n)) for n, text in enumerate(texts)]
    text = summary_of(turns, turns)
    assert text is not None
    assert text.startswith("A conversation of 2026-01-01 to 2026-01-05, 5 messages. They said: ")
    assert "“My sister Asha lives in Oslo.” “Asha studies law in Oslo.” “I baked bread.”" in text
    assert summary_of(turns, []) is None
    bengali = [Turn("1", "user", "আমার বিড়ালের নাম পিক্সেল। সে ধূসর।", DAY)]
    assert "আমার বিড়ালের নাম পিক্সেল।" in (summary_of(bengali, bengali) or "")


def test_an_answer_about_the_turns_is_taken() -> None:
    """Half of its words are theirs, and all of its numbers."""
    turns = [Turn("1", "user", "I moved to Oslo in 2019 with my sister Asha.", DAY)]
    assert read_answer(json.dumps({"summary": "They moved to Oslo in 2019 with their sister."}), turns)
    assert read_answer(json.dumps({"summary": "They moved to Oslo in 2020 with their sister."}), turns) is None


TARGET = ExtractionTarget(base_url="http://x", api_key="k", model="m", embedder=None, answer_tokens=9, timeout_s=7)


def test_a_plan_with_a_model_has_its_time() -> None:
    """What a worker gives it is what the model may take, and some."""
    assert summaries_handler(SummaryPlan(target=TARGET)).timeout_s == 37
    assert summaries_handler(PLAN).timeout_s == 30
