"""Which jobs there are to do, and sending them: a beat adds those that are due, and sends the ids of all that are.

SQL says what is to be done. A message that is lost is sent again, one that comes twice finds nothing to claim. A
failure is tried again later and later, and in the end given up: the job is `dead`, and its person gets no other of the
kind until it is tried again: a day later, so that the longest failure of a model ends by itself, or when an operator
says so (`bondhu jobs retry`).
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
    """Add jobs for those whose turn it is, and send all jobs that are due and can be done here; how many were sent."""
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
