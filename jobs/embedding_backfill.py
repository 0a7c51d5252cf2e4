"""The task that embeds everyone's items in the background (`memory.embedding.backfill`), in bounded runs.

After a run, the worker is free for other tasks; the schedule starts the next one. The only required state is SQL; what
is remembered between runs only saves queries.
"""

import asyncio
import logging
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
from celery import Celery

from jobs.config import Ingress
from jobs.embedder_client import deployed
from memory.embedding.backfill import Backfill, Known, Report
from models.serve_ingress import Away
from storage.database import open_engine

log = logging.getLogger(__name__)

EVERY_S = 15.0
RUN_S = 10.0  # less than the supervisor gives the worker to finish


def register(app: Celery, database_url: str, ingress: Ingress) -> dict[str, Any]:
    """Add the task to `app`; returns its schedule entry."""
    known = Known()

    def run() -> None:
        asyncio.run(reembed(database_url, ingress, known))

    task = app.task(name="jobs.reembed", shared=False)(run)
    return {"reembed": {"task": task.name, "schedule": EVERY_S, "options": {"expires": EVERY_S}}}


async def reembed(database_url: str, ingress: Ingress, known: Known, *, run_s: float = RUN_S) -> Report:
    """Work for about `run_s`; does nothing while the directory is down or has no embedder."""
    engine = open_engine(database_url)
    try:
        async with aiohttp.ClientSession() as session:
            try:
                embedders = await deployed(session, ingress)
            except (Away, TimeoutError) as problem:
                log.info("no embeddings are made: the directory does not answer (%s)", problem or "in time")
                return Report()
            if not embedders:
                return Report(is_complete=True)
            run = Backfill(
                engine,
                known,
                now=partial(datetime.now, UTC),
                clock=time.monotonic,
                ends_s=time.monotonic() + run_s,
                sleep=asyncio.sleep,
            )
            report = await run.run(embedders[0], embedders[1] if len(embedders) > 1 else None)
    finally:
        await engine.dispose()
    for space, items in report.made.items():
        log.info("embedded %d items with %s (%s)", items, space.model, space.revision)
    if report.deleted:
        log.info("deleted %d vectors of embedders that are not in use", report.deleted)
    return report
