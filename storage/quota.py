"""The used part of an outside service's daily quota, in SQL: shared by chat and jobs, and kept across restarts.

Nothing is started beyond the quota. The caller passes the service's time zone: YouTube's day ends at midnight Pacific.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.media.tables import QuotaUse

PACIFIC = ZoneInfo("America/Los_Angeles")
KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Bucket:
    """A daily quota and its size."""

    name: str
    per_day: int
    zone: tzinfo = PACIFIC


class QuotaSpent(Exception):
    """Nothing is left until `resets_at`."""

    def __init__(self, bucket: str, resets_at: datetime) -> None:
        super().__init__(f"the quota {bucket} is used up until {resets_at.isoformat()}")
        self.resets_at = resets_at


class SqlQuota:
    """Counts usage in SQL.

    Args:
        engine: the pool.
        now: the time, aware.

    """

    def __init__(self, engine: AsyncEngine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    async def take(self, bucket: Bucket, amount: int = 1) -> None:
        """Count `amount` before it is used; raises QuotaSpent, and counts nothing, if not enough is left."""
        day = self._day(bucket)
        async with self._engine.begin() as connection:
            row = upsert(QuotaUse, connection.dialect.name).values(bucket=bucket.name, day=day, used=0)
            await connection.execute(row.on_conflict_do_nothing())
            count = (
                update(QuotaUse)
                .where(QuotaUse.bucket == bucket.name, QuotaUse.day == day, QuotaUse.used + amount <= bucket.per_day)
                .values(used=QuotaUse.used + amount)
            )
            if not (await connection.execute(count)).rowcount:
                raise QuotaSpent(bucket.name, self._resets_at(bucket))

    async def exhaust(self, bucket: Bucket) -> datetime:
        """Record that the service reports no quota left; returns the time of the reset."""
        day = self._day(bucket)
        async with self._engine.begin() as connection:
            row = upsert(QuotaUse, connection.dialect.name).values(bucket=bucket.name, day=day, used=bucket.per_day)
            full = row.on_conflict_do_update(index_elements=["bucket", "day"], set_={"used": bucket.per_day})
            await connection.execute(full)
        return self._resets_at(bucket)

    async def used(self, bucket: Bucket) -> int:
        """The amount used today."""
        query = select(QuotaUse.used).where(QuotaUse.bucket == bucket.name, QuotaUse.day == self._day(bucket))
        async with self._engine.connect() as connection:
            return int((await connection.execute(query)).scalar_one_or_none() or 0)

    def _day(self, bucket: Bucket) -> date:
        return self._now().astimezone(bucket.zone).date()

    def _resets_at(self, bucket: Bucket) -> datetime:
        day = self._day(bucket) + timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=bucket.zone)
