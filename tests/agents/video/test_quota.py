"""The quota ledger: shared, surviving restarts, until midnight Pacific; the 30-day rule. In each database."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.video.data_api import SEARCH, UNITS
from storage.media.videos import MemoryVideos, SqlVideos, StoredVideo
from storage.quota import Bucket, QuotaSpent, SqlQuota

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now


def test_the_buckets_are_youtubes() -> None:
    """A hundred searches, ten thousand units."""
    assert (SEARCH.per_day, UNITS.per_day) == (100, 10_000)


async def test_what_is_counted_survives_a_restart_and_is_shared(engine: AsyncEngine) -> None:
    """Chat and jobs are two processes; more than there is is not taken, however many ask at once."""
    bucket = Bucket("b", 10)
    ledgers = [SqlQuota(engine, Clock()) for _ in range(4)]
    results = await asyncio.gather(
        *(ledger.take(bucket) for ledger in ledgers for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(each, QuotaSpent) for each in results) == 6
    assert await SqlQuota(engine, Clock()).used(bucket) == 10


async def test_too_much_at_once_counts_nothing(engine: AsyncEngine) -> None:
    """A smaller amount may still go."""
    quota, bucket = SqlQuota(engine, Clock()), Bucket("b", 10)
    await quota.take(bucket, 8)
    with pytest.raises(QuotaSpent):
        await quota.take(bucket, 3)
    await quota.take(bucket, 2)
    assert await quota.used(bucket) == 10


@pytest.mark.parametrize(
    ("before", "reset"),
    [
        (datetime(2026, 11, 28, 7, 59, tzinfo=UTC), datetime(2026, 11, 28, 8, 0, tzinfo=UTC)),  # PST
        (datetime(2026, 7, 1, 6, 59, tzinfo=UTC), datetime(2026, 7, 1, 7, 0, tzinfo=UTC)),  # PDT
        (datetime(2026, 11, 1, 20, 0, tzinfo=UTC), datetime(2026, 11, 2, 8, 0, tzinfo=UTC)),  # the day of 25 hours
        (datetime(2026, 3, 8, 20, 0, tzinfo=UTC), datetime(2026, 3, 9, 7, 0, tzinfo=UTC)),  # the day of 23 hours
    ],
)
async def test_a_day_ends_at_midnight_pacific(engine: AsyncEngine, before: datetime, reset: datetime) -> None:
    """Whatever the season; what the service called spent is spent until then, and no longer."""
    clock = Clock(before)
    quota, bucket = SqlQuota(engine, clock), Bucket("b", 5)
    assert await quota.exhaust(bucket) == reset
    with pytest.raises(QuotaSpent) as caught:
        await quota.take(bucket)
    assert caught.value.resets_at == reset
    clock.now = reset - timedelta(seconds=1)
    with pytest.raises(QuotaSpent):
        await quota.take(bucket)
    clock.now = reset
    await quota.take(bucket)
    assert await quota.used(bucket) == 1


def video(id_: str, fetched_at: datetime = NOW, duration_s: int | None = None) -> StoredVideo:
    """A video of channel c."""
    return StoredVideo(id_, "c", f"title {id_}", NOW, fetched_at, duration_s)


async def test_nothing_is_kept_longer_than_30_days(engine: AsyncEngine) -> None:
    """It is not shown any more; if it is fetched again, the time counts from then."""
    clock = Clock()
    for store in (SqlVideos(engine, clock), MemoryVideos(clock)):
        clock.now = NOW
        await store.save([video("a", duration_s=60), video("b")])
        clock.now = NOW + timedelta(days=20)
        await store.save([video("b", clock.now)])
        clock.now = NOW + timedelta(days=30, seconds=1)
        assert [each.id for each in await store.of_channels(["c"])] == ["b"]


async def test_a_known_length_stays_known(engine: AsyncEngine) -> None:
    """Feeds tell none."""
    for store in (SqlVideos(engine, Clock()), MemoryVideos(Clock())):
        await store.save([video("a", duration_s=60)])
        await store.save([video("a")])
        assert [each.duration_s for each in await store.of_channels(["c"])] == [60]
