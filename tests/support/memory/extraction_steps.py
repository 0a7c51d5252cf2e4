"""An extraction from beginning to end, in a process that may be killed at any step that it writes."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.config import ExtractionTarget, Rules
from jobs.extraction_schedule import run_job, send_due
from jobs.gateway_client import Endpoint
from storage.database import open_engine
from tests.support.memory.crash_steps import arm

RULES = Rules(turn_tokens=1, idle_s=0, batch_tokens=200, timeout_s=30, max_attempts=3)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def work(engine: AsyncEngine, model_url: str, *, now: datetime = NOW) -> None:
    """Add what jobs are due, and run them one after another."""
    sent: list[str] = []
    await send_due(engine, RULES, sent.append, now=now)
    asked = ExtractionTarget(
        base_url=model_url, api_key="bd-test", model="bondhu", embedder=None, answer_tokens=9, timeout_s=30
    )
    async with Endpoint.open(asked) as model:
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
