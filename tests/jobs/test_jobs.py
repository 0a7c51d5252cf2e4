"""The one mechanism of jobs: added once, run by one, fenced, cancelled, looked at, tried again; kinds in one place."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs import dispatch
from jobs.config import ExtractionTarget, JobsPlan, Plan, Rules
from jobs.handlers import handlers_of
from jobs.runner import Handler, JobFailed, JobRun, NotOurs, run_job
from jobs.schedule import Schedules
from storage.agents.states import SqlStates, StateKey, StatesWithin
from storage.jobs import board as job_board
from storage.jobs import queue as jobs
from storage.jobs.kinds import KINDS, UnknownKind
from storage.memory import erasure
from storage.memory.owner import Owner
from tests.jobs.steps import ANN, BEN, NOW

KEY = StateKey(ANN, "test", "", "done")


async def add(engine: AsyncEngine, kind: str = "retention", owner: Owner = jobs.SERVICE, **more: Any) -> str:
    """Add a job; its id."""
    id_ = await jobs.add_job(engine, owner, kind, now=NOW, **more)
    assert id_ is not None
    return id_


async def run(engine: AsyncEngine, id_: str, does: Callable[[JobRun], Awaitable[Any]], attempts: int = 2) -> Any:
    """Run it, whatever its kind, by this function."""
    handlers = {kind: Handler(does, 5.0, attempts) for kind in KINDS}
    return await run_job(engine, handlers, id_, now=lambda: NOW, jitter=lambda: 0.0)


async def note(job: JobRun) -> str:
    """Store something together with the job's end."""
    await job.progress(1, 2)
    async with job.finishing({"n": 1}) as connection:
        await StatesWithin(connection, job.now).replace(KEY, {"by": job.claim.attempt})
    return "noted"


async def noted(engine: AsyncEngine) -> Any:
    """What was stored."""
    kept = await SqlStates(engine, lambda: NOW).load(KEY)
    return None if kept is None else kept.value["by"]


async def test_a_job_ends_with_what_it_stores(engine: AsyncEngine) -> None:
    """Its progress and result can be seen."""
    id_ = await add(engine)
    assert await run(engine, id_, note) == "noted"
    job = await job_board.find_job(engine, id_)
    assert job is not None
    assert (job.state, job.result, job.progress_done, job.progress_of) == ("done", {"n": 1}, 2, 2)
    assert await noted(engine) == 1
    assert await run(engine, id_, note) is None


async def test_a_cancelled_job_stores_nothing(engine: AsyncEngine) -> None:
    """Whether it waits or runs; then it can be asked for again."""
    waiting = await add(engine)
    assert await job_board.cancel_job(engine, waiting, now=NOW)
    assert await run(engine, waiting, note) is None
    running = await add(engine)

    async def cancelled(job: JobRun) -> None:
        assert await job_board.cancel_job(engine, job.id, now=NOW)
        with pytest.raises(NotOurs):
            await job.progress(1, 2)
        await note(job)

    assert await run(engine, running, cancelled) is None
    assert {job.state for job in await job_board.list_jobs(engine)} == {"cancelled"}
    assert await noted(engine) is None
    assert not await job_board.cancel_job(engine, running, now=NOW)
    await add(engine)


async def test_a_job_of_somebody_forgotten_stores_nothing(engine: AsyncEngine) -> None:
    """Nothing brings them back, whether or not they had a past in memory."""
    await SqlStates(engine, lambda: NOW).save(StateKey(ANN, "video", "c", "shown"), {"items": []}, expected=0)
    id_ = await add(engine, "videos", ANN)

    async def forgotten(job: JobRun) -> None:
        await erasure.erase(engine, ANN)
        await note(job)

    assert await run(engine, id_, forgotten) is None
    assert await jobs.add_job(engine, ANN, "videos", now=NOW) is None
    assert not any((await erasure.count(engine, ANN)).values())


@pytest.mark.parametrize(
    ("problem", "error"), [(JobFailed("busy"), "busy"), (ValueError("Ann's words"), "ValueError"), (None, "timeout")]
)
async def test_a_failed_job_is_retried_and_finally_dead(
    engine: AsyncEngine, problem: Exception | None, error: str
) -> None:
    """Its kind is kept and nobody's words; a dead one is replayed when somebody says so."""
    id_ = await add(engine)

    async def fails(job: JobRun) -> None:
        if problem is None:
            raise TimeoutError
        raise problem

    for state in ("queued", "dead"):
        await run(engine, id_, fails)
        job = await job_board.find_job(engine, id_)
        assert job is not None
        assert (job.state, job.error) == (state, error)
    assert await job_board.retry_jobs(engine, id_, now=NOW) == 1
    assert await run(engine, id_, note) == "noted"


async def test_a_person_has_one_of_a_kind_at_a_time(engine: AsyncEngine) -> None:
    """Another's is another; whose there is nothing of gets none; of a slot there is one."""
    for owner in (ANN, BEN):
        await SqlStates(engine, lambda: NOW).save(StateKey(owner, "video", "c", "shown"), {"items": []}, expected=0)
    first = await add(engine, "videos", ANN)
    assert await jobs.add_job(engine, ANN, "videos", now=NOW) is None
    assert (await job_board.find_undone(engine, ANN, "videos")) is not None
    await add(engine, "videos", BEN)
    assert await jobs.add_job(engine, Owner("app", "nobody"), "videos", now=NOW) is None
    await job_board.cancel_job(engine, first, now=NOW)
    await add(engine, "videos", ANN, slot="2026-03-02")
    (undone,) = await job_board.list_jobs(engine, owner=ANN, state="queued")
    await job_board.cancel_job(engine, undone.id, ANN, now=NOW)
    assert [await jobs.add_job(engine, ANN, "videos", now=NOW, slot=s) for s in ("2026-03-01", "2026-03-02")] == [
        None
    ] * 2
    await add(engine, "videos", ANN, slot="2026-03-03")


async def test_one_of_many_adds_wins(engine: AsyncEngine) -> None:
    """However many ask at once."""
    added = await asyncio.gather(*(jobs.add_job(engine, jobs.SERVICE, "stats", now=NOW, slot="1") for _ in range(8)))
    assert len([id_ for id_ in added if id_ is not None]) == 1


async def test_urgent_jobs_are_sent_first_and_none_waits_for_good(engine: AsyncEngine) -> None:
    """By priority; after an hour a quiet one is urgent."""
    quiet, urgent = await add(engine, "retention"), await add(engine, "stats", is_urgent=True)
    due = await jobs.find_due(engine, now=NOW, limit=9)
    assert [(job.id, job.priority) for job in due] == [(urgent, 0), (quiet, 2)]
    aged = await jobs.find_due(engine, now=NOW + timedelta(hours=1), limit=9)
    assert [job.priority for job in aged] == [0, 0]
    assert await jobs.find_due(engine, now=NOW, limit=9, kinds=["extract"]) == []


async def test_wrong_kinds_and_parameters_are_named(engine: AsyncEngine) -> None:
    """Nothing is stored of them."""
    with pytest.raises(UnknownKind, match="expire_videos, extract"):
        await jobs.add_job(engine, ANN, "fly", now=NOW)
    with pytest.raises(ValidationError, match="days"):
        await jobs.add_job(engine, jobs.SERVICE, "stats", now=NOW, params={"days": 0})
    assert await job_board.list_jobs(engine) == []


async def test_a_lost_message_is_sent_again(engine: AsyncEngine) -> None:
    """Ten minutes later, and not before."""
    id_, sent = await add(engine), list[jobs.DueJob]()
    handlers = handlers_of(JobsPlan())
    for minutes, times in ((0, 1), (9, 1), (10, 2)):
        await dispatch.send_due(engine, handlers, Schedules(), sent.append, now=NOW + timedelta(minutes=minutes))
        assert [job.id for job in sent] == [id_] * times


async def test_a_worker_that_lacks_the_kind_leaves_the_job_to_another(engine: AsyncEngine) -> None:
    """The job is sent again at once, not after the ten minutes of a lost message."""
    id_ = await add(engine)
    await jobs.note_sent(engine, [id_], now=NOW, again_at=NOW + dispatch.SEND_AGAIN)
    assert await run_job(engine, {}, id_, now=lambda: NOW, jitter=lambda: 0.0) is None
    (due,) = await jobs.find_due(engine, now=NOW + timedelta(seconds=5), limit=10, kinds=list(KINDS))
    assert due.id == id_
    assert await run(engine, id_, note) == "noted"


def test_every_kind_is_done_by_somebody() -> None:
    """What is declared is registered, and nothing else."""
    target = ExtractionTarget(base_url="", api_key="", model="", embedder=None, answer_tokens=1, timeout_s=1)
    rules = Rules(turn_tokens=1, idle_s=0, batch_tokens=1, timeout_s=1, max_attempts=1)
    assert set(handlers_of(JobsPlan(), Plan(target=target, rules=rules, every_s=1))) == set(KINDS)
