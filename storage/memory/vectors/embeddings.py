"""Embeddings in SQL: finds missing ones of a model's revision, and stores them.

They are made from stored texts, outside of transactions; so a vector is stored only if the item has not changed since
its text was read (`changed_in`). This module does not know models.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Insert,
    Integer,
    Row,
    ScalarSelect,
    Select,
    Subquery,
    and_,
    bindparam,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import aliased

from storage.database import upsert
from storage.memory.conversations import ROWS_AT_ONCE
from storage.memory.owner import WHOEVER, Owner
from storage.memory.people import bump
from storage.memory.tables import Embedding, ItemKind, Memory, Message

Line = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Space:
    """A model and revision; only vectors of the same space can be compared."""

    model: str
    revision: str


@dataclass(frozen=True, slots=True)
class Unembedded:
    """An item that lacks a vector. `around` are (speaker, text) of a turn and its neighbours, in order.

    `single` and `parts` are the vectors of its text, if only that of its window is missing.
    """

    kind: ItemKind
    id: str
    changed_in: int
    text: str
    around: tuple[Line, ...] = ()
    single: bytes | None = None
    parts: bytes | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors made for an item: bytes of float32. A memory has no window, a short text no parts."""

    of: Unembedded
    single: bytes
    window: bytes | None
    parts: bytes | None = None


async def find_unembedded(
    engine: AsyncEngine, owner: Owner, space: Space, *, limit: int, since: int = 0, kind: ItemKind | None = None
) -> list[Unembedded]:
    """Up to `limit` (some hundreds) items (of one kind) that changed in version `since` or later and lack a vector."""
    found: list[Unembedded] = []
    async with engine.connect() as connection:
        params = owner.columns | {"since": since, "most": limit}
        if kind != "memory":
            found = [_turn(row) for row in await connection.execute(_lacking_turns(space), params)]
        if kind != "turn":
            params["most"] = limit - len(found)
            rows = await connection.execute(_lacking_memories(space), params)
            found += [Unembedded("memory", *row) for row in rows]
    return found


async def store_embeddings(
    engine: AsyncEngine, owner: Owner, space: Space, embedded: Sequence[Embedded], *, now: datetime
) -> None:
    """Store vectors of unchanged items; replaces existing ones in `space`."""
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        current = await _changed_in(connection, owner, [each.of for each in embedded])
        rows = [
            {
                **owner.columns,
                "kind": each.of.kind,
                "item_id": each.of.id,
                "model": space.model,
                "revision": space.revision,
                "single": each.single,
                "window": each.window,
                "parts": each.parts,
                "changed_in": version,
            }
            for each in embedded
            if current.get((each.of.kind, each.of.id)) == each.of.changed_in
        ]
        if not rows:
            await connection.rollback()
            return
        await connection.execute(_put(engine.dialect.name), rows)


async def vectors_of_memories(
    engine: AsyncEngine, owner: Owner, ids: Collection[str], *, size_bytes: int
) -> dict[str, bytes]:
    """The vectors of these memories' texts, of the space with most of them; only vectors of `size_bytes`."""
    query = owner.select(Embedding, Embedding.item_id, Embedding.model, Embedding.revision, Embedding.single)
    by_space: dict[Space, dict[str, bytes]] = {}
    async with engine.connect() as connection:
        for id_, model, revision, single in await connection.execute(query.where(Embedding.kind == "memory")):
            if id_ in ids and len(single) == size_bytes:
                by_space.setdefault(Space(model, revision), {})[id_] = single
    return max(by_space.values(), key=len, default={})


@cache
def _put(dialect: str) -> Insert:
    new = upsert(Embedding, dialect)
    values = {name: new.excluded[name] for name in ("single", "window", "parts", "changed_in")}
    keys = ["app", "end_user", "kind", "item_id", "model", "revision"]
    return new.on_conflict_do_update(index_elements=keys, set_=values)


def _in(table: Any, space: Space) -> ColumnElement[bool]:
    return and_(table.model == space.model, table.revision == space.revision)


def joins(item: type[Message] | type[Memory], kind: ItemKind, space: Space) -> ColumnElement[bool]:
    """The condition that joins items to their vectors in `space`."""
    same = and_(Embedding.app == item.app, Embedding.end_user == item.end_user, Embedding.item_id == item.id)
    return and_(same, Embedding.kind == kind, _in(Embedding, space))


def _turn(row: Row[Any]) -> Unembedded:
    before, after = (row.before_speaker, row.before), (row.after_speaker, row.after)
    here = (row.speaker, row.text)
    around = tuple(line for line in (before, here, after) if line[1] is not None)
    return Unembedded("turn", row.id, row.changed_in, row.text, around, row.single, row.parts)


@cache
def _lacking_turns(space: Space) -> Select[Any]:
    """The turns, and then the neighbours of these alone: of an import, most turns are left for later."""
    shown = (Message.id, Message.changed_in, Message.text, Message.speaker, Embedding.single, Embedding.parts)
    place = (Message.app, Message.end_user, Message.conversation_id, Message.said_at, Message.position)
    query = WHOEVER.select(Message, *shown, *place).outerjoin(Embedding, joins(Message, "turn", space))
    lacking = or_(Embedding.item_id.is_(None), Embedding.window.is_(None))
    query = query.where(Message.changed_in >= bindparam("since"), lacking)
    query = query.order_by(Message.conversation_id, Message.said_at).limit(bindparam("most", type_=Integer))
    found, before, after = query.subquery("lacking"), aliased(Message), aliased(Message)
    beside: FromClause = found
    for other, step in ((before, -1), (after, 1)):
        same = and_(other.app == found.c.app, other.end_user == found.c.end_user)
        beside = beside.outerjoin(other, and_(same, other.id == _neighbour(found, step)))
    lines = (
        *(before.speaker.label("before_speaker"), before.text.label("before")),
        *(after.speaker.label("after_speaker"), after.text.label("after")),
    )
    return select(found, *lines).select_from(beside).order_by(found.c.conversation_id, found.c.said_at)


@cache
def _lacking_memories(space: Space) -> Select[Any]:
    columns = (Memory.id, Memory.changed_in, Memory.text)
    query = WHOEVER.select(Memory, *columns).outerjoin(Embedding, joins(Memory, "memory", space))
    query = query.where(Memory.changed_in >= bindparam("since"), Embedding.item_id.is_(None))
    return query.limit(bindparam("most", type_=Integer))


def _neighbour(turn: Subquery, step: int) -> ScalarSelect[str]:
    """The id of the turn before (-1) or after (1) this one."""
    other = aliased(Message)
    here, there = tuple_(turn.c.said_at, turn.c.position), tuple_(other.said_at, other.position)
    order = (other.said_at, other.position) if step > 0 else (other.said_at.desc(), other.position.desc())
    same = (other.app == turn.c.app, other.end_user == turn.c.end_user)
    query = select(other.id).where(*same, other.conversation_id == turn.c.conversation_id)
    query = query.where(there > here if step > 0 else there < here).order_by(*order).limit(1)
    return query.correlate(turn).scalar_subquery()


async def _changed_in(
    connection: AsyncConnection, owner: Owner, items: Sequence[Unembedded]
) -> dict[tuple[ItemKind, str], int]:
    """The version of the last change of each existing item."""
    found: dict[tuple[ItemKind, str], int] = {}
    tables: tuple[tuple[ItemKind, type[Message] | type[Memory]], ...] = (("turn", Message), ("memory", Memory))
    for kind, table in tables:
        for some in _portions([each.id for each in items if each.kind == kind]):
            rows = await connection.execute(_state_of(table), owner.columns | {"ids": some})
            found |= {(kind, id_): changed_in for id_, changed_in in rows}
    return found


@cache
def _state_of(table: type[Message] | type[Memory]) -> Select[Any]:
    return WHOEVER.select(table, table.id, table.changed_in).where(table.id.in_(bindparam("ids", expanding=True)))


def _portions(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[first : first + ROWS_AT_ONCE] for first in range(0, len(ids), ROWS_AT_ONCE)]
