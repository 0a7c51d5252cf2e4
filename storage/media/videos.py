"""Videos from feeds, shared by all people; nothing is stored longer than 30 days after it was fetched."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.media.tables import FeedVideo

MAX_AGE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video; `duration_s` is None if unknown."""

    id: str
    channel: str
    title: str
    published_at: datetime
    fetched_at: datetime
    duration_s: int | None = None


class SqlVideos:
    """Videos in SQL.

    Args:
        engine: the pool.
        now: the time, aware.

    """

    def __init__(self, engine: AsyncEngine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    async def save(self, videos: Sequence[StoredVideo]) -> None:
        """Store fetched videos; a known duration is never replaced by None."""
        if not videos:
            return
        async with self._engine.begin() as connection:
            for video in videos:
                row = asdict(video)
                fresh = {name: value for name, value in row.items() if name != "id" and value is not None}
                insert = upsert(FeedVideo, connection.dialect.name).values(**row)
                await connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=fresh))

    async def of_channels(self, channels: Collection[str]) -> list[StoredVideo]:
        """The stored videos of these channels that have not expired, newest first."""
        query = (
            select(FeedVideo)
            .where(FeedVideo.channel.in_(channels), FeedVideo.fetched_at > self._now() - MAX_AGE)
            .order_by(FeedVideo.published_at.desc())
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query.with_only_columns(*FeedVideo.__table__.columns))).all()
        return [
            StoredVideo(row.id, row.channel, row.title, row.published_at, row.fetched_at, row.duration_s)
            for row in rows
        ]


class MemoryVideos:
    """The same in memory, for the lifetime of the process."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._videos: dict[str, StoredVideo] = {}

    async def save(self, videos: Sequence[StoredVideo]) -> None:
        """As `SqlVideos.save`."""
        for video in videos:
            before = self._videos.get(video.id)
            known = before.duration_s if before and video.duration_s is None else video.duration_s
            self._videos[video.id] = replace(video, duration_s=known)

    async def of_channels(self, channels: Collection[str]) -> list[StoredVideo]:
        """As `SqlVideos.of_channels`."""
        self._videos = {id_: each for id_, each in self._videos.items() if each.fetched_at > self._now() - MAX_AGE}
        found = [each for each in self._videos.values() if each.channel in channels]
        return sorted(found, key=lambda each: each.published_at, reverse=True)
