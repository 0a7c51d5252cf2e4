"""Embedding spaces across all people: progress, changed data, and deletion of old ones.

This module does not know the active space; callers pass it. It changes one person at a time, and each change begins
with `storage.memory.people.bump`.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.tables import Embedding, ItemKind, Memory, Message, Person
from storage.memory.vectors.embeddings import Space, joins

Mark = tuple[str, int]  # a person's era and version: the same again, and nothing of theirs has changed


async def count_items(engine: AsyncEngine) -> int:
    """The number of turns and memories of all people."""
    async with engine.connect() as connection:
        counts = [await connection.execute(select(func.count()).select_from(table)) for table in (Message, Memory)]
        return sum(int(count.scalar_one()) for count in counts)


async def count_embedded(engine: AsyncEngine) -> dict[Space, int]:
    """The number of items with all their vectors, by space; only spaces that have any."""
    whole = or_(Embedding.kind == "memory", Embedding.window.is_not(None))
    query = select(Embedding.model, Embedding.revision, func.count()).where(whole)
    async with engine.connect() as connection:
        rows = await connection.execute(query.group_by(Embedding.model, Embedding.revision))
        return {Space(model, revision): count for model, revision, count in rows}


async def read_marks(engine: AsyncEngine, *, after: Owner | None, limit: int) -> list[tuple[Owner, Mark]]:
    """The marks of up to `limit` people, in a fixed order, starting after `after`."""
    query = select(Person.app, Person.end_user, Person.era, Person.version).where(*_after(Person, after))
    async with engine.connect() as connection:
        rows = await connection.execute(query.order_by(Person.app, Person.end_user).limit(limit))
        return [(Owner(app, user), (era, version)) for app, user, era, version in rows]


async def find_others(engine: AsyncEngine, keep: Sequence[Space], *, after: Owner | None, limit: int) -> list[Owner]:
    """Up to `limit` people with vectors in spaces not in `keep`, in a fixed order, starting after `after`."""
    query = select(Embedding.app, Embedding.end_user).distinct().where(_others(keep), *_after(Embedding, after))
    async with engine.connect() as connection:
        rows = await connection.execute(query.order_by(Embedding.app, Embedding.end_user).limit(limit))
        return [Owner(app, user) for app, user in rows]


async def clear_others(engine: AsyncEngine, owner: Owner, keep: Sequence[Space], *, now: datetime, limit: int) -> int:
    """Delete up to `limit` (a few hundred) of a person's vectors in spaces not in `keep`; returns how many.

    None while one of their items lacks a vector in the first space of `keep`: the old one may be the only one.
    """
    keys = (Embedding.kind, Embedding.item_id, Embedding.model, Embedding.revision)
    async with engine.begin() as connection:
        await bump(connection, owner, now=now)
        found = await connection.execute(owner.select(Embedding, *keys).where(_others(keep)).limit(limit))
        rows = [tuple(row) for row in found]
        if not rows or await _lacks_some(connection, owner, keep[0]):
            await connection.rollback()
            return 0
        await connection.execute(owner.delete(Embedding).where(tuple_(*keys).in_(rows)))
    return len(rows)


async def _lacks_some(connection: AsyncConnection, owner: Owner, space: Space) -> bool:
    tables: tuple[tuple[ItemKind, type[Message] | type[Memory]], ...] = (("turn", Message), ("memory", Memory))
    for kind, table in tables:
        query = owner.select(table, table.id).outerjoin(Embedding, joins(table, kind, space))
        missing = [Embedding.item_id.is_(None)] + ([Embedding.window.is_(None)] if kind == "turn" else [])
        if (await connection.execute(query.where(or_(*missing)).limit(1))).first() is not None:
            return True
    return False


def _others(keep: Sequence[Space]) -> ColumnElement[bool]:
    return and_(*(or_(Embedding.model != space.model, Embedding.revision != space.revision) for space in keep))


def _after(table: type[Person] | type[Embedding], owner: Owner | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [tuple_(table.app, table.end_user) > (owner.app, owner.user)]
