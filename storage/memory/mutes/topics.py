"""Muted topics in the person's own words, until they are lifted.

This module does not know which items a topic is about (`memory.intents.matching`).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.owner import WHOEVER, Owner
from storage.memory.tables import MutedTopic


@dataclass(frozen=True, slots=True)
class NewTopic:
    """The words, and the code of their language."""

    about: str
    language: str


@dataclass(frozen=True, slots=True)
class TopicRecord(NewTopic):
    """A stored topic."""

    id: str
    created_at: datetime


async def list_topics(engine: AsyncEngine, owner: Owner) -> list[TopicRecord]:
    """The person's topics, oldest first."""
    async with engine.connect() as connection:
        found = [TopicRecord(**row._mapping) for row in await connection.execute(_TOPICS, owner.columns)]
    return sorted(found, key=lambda each: (each.created_at, each.id))


async def add_topic(connection: AsyncConnection, owner: Owner, topic: NewTopic, *, now: datetime) -> None:
    """Add a topic within an open change, unless it is there."""
    there = owner.select(MutedTopic, MutedTopic.id).where(MutedTopic.about == topic.about)
    if (await connection.execute(there)).first() is None:
        row = {"id": secrets.token_hex(8), "about": topic.about, "language": topic.language, "created_at": now}
        await connection.execute(insert(MutedTopic).values(**owner.columns, **row))


async def delete_topics(connection: AsyncConnection, owner: Owner, ids: Sequence[str]) -> int:
    """Delete topics within an open change; returns their number."""
    if not ids:
        return 0
    return (await connection.execute(owner.delete(MutedTopic).where(MutedTopic.id.in_(ids)))).rowcount


_TOPICS = WHOEVER.select(MutedTopic, MutedTopic.about, MutedTopic.language, MutedTopic.id, MutedTopic.created_at)
