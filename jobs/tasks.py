"""The tasks of all jobs: the beat that sends due jobs, and one job by its id. Messages name no person."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from jobs.dispatch import SEND_AGAIN, send_due
from jobs.runner import Handler, run_job
from jobs.schedule import Schedules
from storage.database import open_engine
from storage.jobs.queue import DueJob

RUN, SEND_DUE = "jobs.run", "jobs.send_due"
# By priority. A worker looks into its queues in the order of their names: "jobs", which has the beat's own, is first.
QUEUES = ("jobs.1", "jobs.2", "jobs.3")


def register(
    app: Celery,
    database_url: str,
    handlers: Mapping[str, Handler],
    schedules: Schedules,
    *,
    every_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Add the tasks to `app`; returns their schedule entry."""

    def run(job_id: str) -> None:
        asyncio.run(_run(database_url, handlers, job_id))

    run_task = app.task(name=RUN, shared=False)(run)

    def send(job: DueJob) -> None:
        run_task.apply_async((job.id,), queue=QUEUES[job.priority], expires=SEND_AGAIN.total_seconds())

    ended = float("-inf")

    def send_all() -> int | None:
        nonlocal ended
        if clock() - ended < every_s / 2:  # on a busy machine a look takes longer than the interval: jobs come first
            return None
        try:
            return asyncio.run(_send_due(database_url, handlers, schedules, send))
        finally:
            ended = clock()

    app.task(name=SEND_DUE, shared=False)(send_all)
    return {"send-due-jobs": {"task": SEND_DUE, "schedule": every_s, "options": {"expires": every_s}}}


async def _send_due(database_url: str, handlers: Mapping[str, Handler], schedules: Schedules, send: Any) -> int:
    engine = open_engine(database_url)
    try:
        return await send_due(engine, handlers, schedules, send, now=datetime.now(UTC))
    finally:
        await engine.dispose()


async def _run(database_url: str, handlers: Mapping[str, Handler], job_id: str) -> None:
    engine, jitter = open_engine(database_url), random.SystemRandom().random
    try:
        await run_job(engine, handlers, job_id, now=lambda: datetime.now(UTC), jitter=jitter)
    finally:
        await engine.dispose()
