"""How somebody writes is read only with their opt-in, and what is made of it goes with their answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.personality.profile import AGENT, Personality, key_of, load_personality, save_personality
from agents.personality.scores import scores_of
from jobs.config import JobsPlan
from jobs.dispatch import send_due
from jobs.handlers import handlers_of
from jobs.kinds.personality import read_language
from jobs.runner import JobRun, NotOurs, run_job
from jobs.schedule import Schedule, Schedules
from storage.agents.states import SqlStates
from storage.erasure.log import ErasureLog
from storage.erasure.replay import read_entries, replay
from storage.jobs.queue import DueJob, add_job, claim_job
from storage.memory.conversations import NewMessage, ingest
from storage.memory.erasure import erase
from storage.memory.owner import Owner

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
LOG = ErasureLog("key", lambda: NOW)
SCHEDULES = Schedules({"personality": Schedule()})


async def prepare(engine: AsyncEngine, owner: Owner, *, allows: bool) -> SqlStates:
    """Have somebody answer, and write sixty messages of worries."""
    states = SqlStates(engine, lambda: NOW, log=LOG, logged=[AGENT])
    await save_personality(states, owner, Personality({1: 5, 6: 1}, reads_language=allows))
    turns = [NewMessage(str(n), "user", "I worry, I am anxious and sad", NOW + timedelta(seconds=n)) for n in range(60)]
    await ingest(engine, owner, "c", turns, now=NOW)
    return states


async def work(engine: AsyncEngine) -> None:
    """Do what is due in the night."""
    handlers, sent = handlers_of(JobsPlan(summaries=None)), list[DueJob]()
    await send_due(engine, handlers, SCHEDULES, sent.append, now=NOW)
    for job in sent:
        await run_job(engine, handlers, job.id, now=lambda: NOW, jitter=lambda: 0.0)


async def test_language_is_weak_evidence_of_who_allows_it(engine: AsyncEngine) -> None:
    """Their answers stay what they are; of others nothing is stored."""
    states = await prepare(engine, ANN, allows=True)
    await prepare(engine, BEN, allows=False)
    await work(engine)
    known, other = await load_personality(states, ANN), await load_personality(states, BEN)
    assert known.answers == other.answers == {1: 5, 6: 1}
    assert other.language == {}
    assert set(known.language) >= {"neuroticism"}
    scores = {each.trait: each for each in scores_of(known.answers, language=known.language)}
    assert scores["neuroticism"].source == "language"
    assert scores["neuroticism"].high - scores["neuroticism"].low > 2.5
    assert scores["extraversion"].source == "questionnaire_and_language"
    taken_back = replace(known, reads_language=False)
    assert await save_personality(states, ANN, taken_back)
    assert (await load_personality(states, ANN)).language == {}


async def job_of(engine: AsyncEngine) -> JobRun:
    """Return Ann's job, as the worker that claimed it has it."""
    id_ = await add_job(engine, ANN, "personality", now=NOW)
    assert id_ is not None
    claim = await claim_job(engine, id_, now=NOW, until=NOW + timedelta(minutes=1), max_attempts=5)
    assert claim is not None
    return JobRun(engine, claim, lambda: NOW)


async def test_who_takes_it_back_meanwhile_has_taken_it_back(engine: AsyncEngine) -> None:
    """A change while their messages were read; and after they were forgotten nothing comes back."""
    states = await prepare(engine, ANN, allows=True)
    job = await job_of(engine)
    known = await load_personality(states, ANN)
    assert await save_personality(states, ANN, replace(known, reads_language=False))
    assert await read_language(job) == 0
    assert (await load_personality(states, ANN)).language == {}
    job = await job_of(engine)
    await erase(engine, ANN)
    with pytest.raises(NotOurs):
        await read_language(job)
    assert await states.of_person(ANN) == []


async def test_what_was_deleted_stays_deleted_in_a_restored_backup(engine: AsyncEngine) -> None:
    """Of one person; another's answers, and what came after, stay."""
    states = await prepare(engine, ANN, allows=True)
    await prepare(engine, BEN, allows=True)
    await states.delete(key_of(ANN))
    entries = await read_entries(engine)
    assert len(entries) == 1
    await save_personality(states, ANN, Personality({1: 5}))
    assert await replay(engine, LOG, entries, now=NOW) == 0, "it knows of it"
    assert (await load_personality(states, ANN)).answers == {1: 5}
    before = [entry._replace(id="of-a-later-time") for entry in entries]  # as a backup of before has none of them
    assert await replay(engine, LOG, before, now=NOW) == 1
    assert await states.load(key_of(ANN)) is None
    assert (await load_personality(states, BEN)).answers == {1: 5, 6: 1}
