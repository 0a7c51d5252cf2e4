"""Extraction's tasks: the beat that finds what is due, and a job by its id. Imported only where there is a plan."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime

from celery import Celery

from jobs.config import Plan
from jobs.extraction_schedule import SEND_AGAIN, run_job, send_due
from jobs.gateway_client import Endpoint
from storage.database import open_engine

EXTRACT, SEND_DUE = "jobs.extract", "jobs.send_due"
QUEUE = "extraction"  # of its own: the worker takes from its queues in turn, and an extraction takes a while


def register(app: Celery, database_url: str, plan: Plan) -> None:
    """Add the tasks to `app`. What is sent holds a job's random id, and nothing of anybody."""

    def extract(job_id: str) -> None:
        asyncio.run(_extract(database_url, plan, job_id))

    extract_task = app.task(name=EXTRACT, shared=False)(extract)

    def send(job_id: str) -> None:
        extract_task.apply_async((job_id,), queue=QUEUE, expires=SEND_AGAIN.total_seconds())

    def send_all() -> int:
        return asyncio.run(_send_due(database_url, plan, send))

    app.task(name=SEND_DUE, shared=False)(send_all)


async def _send_due(database_url: str, plan: Plan, send: Callable[[str], object]) -> int:
    engine = open_engine(database_url)
    try:
        return await send_due(engine, plan.rules, send, now=datetime.now(UTC))
    finally:
        await engine.dispose()


async def _extract(database_url: str, plan: Plan, job_id: str) -> None:
    engine, jitter = open_engine(database_url), random.SystemRandom().random
    try:
        async with Endpoint.open(plan.asked) as model:
            await run_job(engine, plan.rules, model, job_id, now=lambda: datetime.now(UTC), jitter=jitter)
    finally:
        await engine.dispose()
