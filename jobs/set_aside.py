"""The task that permanently deletes rows set aside by wishes after they expire (`memory.set_aside`)."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from storage.database import open_engine
from storage.erasure.log import ErasureLog
from storage.memory.erasure import scrub
from storage.memory.set_aside import wipe_expired

log = logging.getLogger(__name__)

EVERY_S = 600.0


def register(app: Celery, database_url: str, erasure_key: str | None) -> dict[str, Any]:
    """Add the task to `app`; returns its schedule entry. With a key, deletions are logged."""

    def run() -> int:
        noted = None if erasure_key is None else ErasureLog(erasure_key, lambda: datetime.now(UTC))
        return asyncio.run(wipe(database_url, now=datetime.now(UTC), noted=noted))

    task = app.task(name="jobs.wipe_set_aside", shared=False)(run)
    return {"wipe-set-aside": {"task": task.name, "schedule": EVERY_S, "options": {"expires": EVERY_S}}}


async def wipe(database_url: str, *, now: datetime, noted: ErasureLog | None = None) -> int:
    """Delete expired rows, from the database files too; returns the number of turns and memories."""
    engine = open_engine(database_url)
    try:
        gone = await wipe_expired(engine, now=now, log=noted)
        if gone:
            await scrub(engine)
            log.info("deleted %d turns and memories for good that wishes had set aside", gone)
    finally:
        await engine.dispose()
    return gone
