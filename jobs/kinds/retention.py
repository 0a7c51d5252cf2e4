"""Deletes expired rows of the tables that no other job cleans up.

Rows set aside by wishes have their own task (`jobs.set_aside`), data from YouTube its own job
(`jobs.kinds.youtube_data`).
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select

from jobs.runner import JobRun
from storage.media.tables import QuotaUse
from storage.quota import KEPT_DAYS
from storage.services.answers import MAX_AGE
from storage.services.tables import AppDay, OutsideAnswer

KEEP_STATS = timedelta(days=800)


async def delete_expired(job: JobRun) -> dict[str, int]:
    """Delete them; the number of deleted rows per table."""
    now = job.now()
    old: dict[Any, Any] = {
        OutsideAnswer: OutsideAnswer.fetched_at <= now - MAX_AGE,
        QuotaUse: QuotaUse.day < now.date() - timedelta(days=KEPT_DAYS),
        AppDay: AppDay.day < (now - KEEP_STATS).date(),
    }
    found = {}
    async with job.engine.connect() as connection:
        for table, is_old in old.items():
            count = select(func.count()).select_from(table).where(is_old)
            found[table.__tablename__] = int((await connection.execute(count)).scalar_one())
    async with job.finishing(found) as connection:
        for table, is_old in old.items():
            await connection.execute(delete(table).where(is_old))
    return found
