"""Deleting what has been kept for as long as it may be, of tables that no other job looks after.

What wishes set aside has a task of its own (`jobs.set_aside`), what YouTube told a job of its own
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
    """Do it; how many rows of each table there were to go."""
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
