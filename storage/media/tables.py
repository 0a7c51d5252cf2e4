"""The tables of music and video.

Playlists and their changes belong to a person. Imported recordings, videos from feeds and used quota do not.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Date, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from storage.memory.tables import Owned
from storage.tables import Base, UtcDateTime


class Playlist(Owned):
    """A playlist; `items` is a list of documents with an `id` each, `wanted` what it was made from."""

    __tablename__ = "playlists"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    items: Mapped[list[Any]] = mapped_column(JSON)
    wanted: Mapped[dict[str, Any]] = mapped_column(JSON)
    version: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PlaylistChange(Owned):
    """A change of a playlist, under its idempotency key: what was added and removed, so that it can be undone."""

    __tablename__ = "playlist_changes"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    playlist: Mapped[str] = mapped_column(String(64))
    added: Mapped[list[Any]] = mapped_column(JSON)
    removed: Mapped[list[Any]] = mapped_column(JSON)
    is_new: Mapped[bool]
    undone: Mapped[bool]
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class ImportedTrack(Base):
    """A recording from a file that the operator imported."""

    __tablename__ = "imported_tracks"

    id: Mapped[str] = mapped_column(String(420), primary_key=True)
    genre: Mapped[str] = mapped_column(String(40))
    language: Mapped[str] = mapped_column(String(3))
    mood: Mapped[str] = mapped_column(String(16))
    document: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (Index(None, "genre"), Index(None, "language"))


class FeedVideo(Base):
    """A video from a service; stored for at most 30 days after it was fetched."""

    __tablename__ = "feed_videos"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    channel: Mapped[str] = mapped_column(String(32))
    title: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_s: Mapped[int | None] = mapped_column(Integer)
    fetched_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index(None, "channel"), Index(None, "fetched_at"))


class QuotaUse(Base):
    """How much of a bucket of a service's quota was used on one day, in the service's time zone."""

    __tablename__ = "quota_uses"

    bucket: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    used: Mapped[int] = mapped_column(BigInteger)
