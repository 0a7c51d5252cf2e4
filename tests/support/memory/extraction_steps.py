"""A complete extraction in a process that can be killed at any write."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs import dispatch, runner
from jobs.config import ExtractionTarget, Rules
from jobs.gateway_client import Endpoint
from jobs.kinds.extraction import extract, handler
from jobs.runner import Handler, JobRun
from jobs.schedule import Schedules
from memory.extraction.extractor import Extracted, Model
from storage.database import open_engine
from tests.support.memory.crash_steps import arm

RULES = Rules(turn_tokens=1, idle_s=0, batch_tokens=200, timeout_s=30, max_attempts=3)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def handlers(rules: Rules, model: Model | None = None) -> dict[str, Handler]:
    """Return what does extraction, with this model."""

    async def run(job: JobRun) -> Extracted:
        assert model is not None
        return await extract(job, rules, model)

    return {"extract": handler(rules, run)}


async def send_due(engine: AsyncEngine, rules: Rules, send: Callable[[str], object], *, now: datetime) -> int:
    """Add what extractions are due, and give the ids of all jobs that are to `send`."""
    return await dispatch.send_due(engine, handlers(rules), Schedules(), lambda job: send(job.id), now=now)


async def run_job(
    engine: AsyncEngine,
    rules: Rules,
    model: Model,
    id_: str,
    *,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> Extracted | None:
    """Run it; what was extracted."""
    found = await runner.run_job(engine, handlers(rules, model), id_, now=now, jitter=jitter)
    assert found is None or isinstance(found, Extracted)
    return found


async def work(engine: AsyncEngine, model_url: str, *, now: datetime = NOW) -> None:
    """Add what jobs are due, and run them one after another."""
    sent: list[str] = []
    await send_due(engine, RULES, sent.append, now=now)
    target = ExtractionTarget(
        base_url=model_url, api_key="bd-test", model="bondhu", embedder=None, answer_tokens=9, timeout_s=30
    )
    async with Endpoint.open(target) as model:
        for id_ in sent:
            await run_job(engine, RULES, model, id_, now=lambda: now, jitter=lambda: 0.0)


def run(url: str, model_url: str, moment: int) -> None:
    """Do it on the database `url`; SIGKILL this process at this moment (from 0), if it comes."""
    asyncio.run(_run(url, model_url, moment))


async def _run(url: str, model_url: str, moment: int) -> None:
    engine = open_engine(url)
    arm(engine, moment)
    await work(engine, model_url)
    await engine.dispose()
