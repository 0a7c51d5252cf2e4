"""Finds due jobs and sends them: a beat adds jobs that are due, and sends the ids of all due jobs.

SQL is the source of truth. A lost message is sent again; a duplicate finds nothing to claim. A failed job is retried
with growing delays and finally given up: it becomes `dead`, and its person gets no other job of this kind until it is
retried, which happens a day later, so that even a long model failure ends by itself, or by `bondhu jobs retry`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.runner import Handler
from jobs.schedule import Schedules, add_scheduled
from storage.jobs import board as job_board
from storage.jobs import queue as jobs

AT_ONCE = 100  # jobs sent by a beat
SEND_AGAIN = timedelta(minutes=10)  # what nobody has taken by then
KEEP_DONE = timedelta(days=7)
REST = timedelta(days=1)  # of a job that was given up


async def send_due(
    engine: AsyncEngine,
    handlers: Mapping[str, Handler],
    schedules: Schedules,
    send: Callable[[jobs.DueJob], object],
    *,
    now: datetime,
) -> int:
    """Add jobs for owners whose turn it is, and send all due jobs that can run here; returns how many were sent."""
    await job_board.prune_jobs(engine, before=now - KEEP_DONE)
    await job_board.retry_jobs(engine, now=now, before=now - REST)
    for kind, handler in handlers.items():
        for owner in await handler.find(engine, now) if handler.find is not None else ():
            await jobs.add_job(engine, owner, kind, now=now)
    await add_scheduled(engine, schedules, handlers, now=now)
    due = await jobs.find_due(engine, now=now, limit=AT_ONCE, kinds=list(handlers))
    for job in due:
        send(job)
    await jobs.note_sent(engine, [job.id for job in due], now=now, again_at=now + SEND_AGAIN)
    return len(due)
