"""A person's turns and memories for recall: a feed of the changes since a version, with vectors."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, null, or_, union
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.former_texts import are_current
from storage.memory.owner import WHOEVER, Owner
from storage.memory.tables import Embedding, ItemKind, Memory, Message
from storage.memory.vectors.embeddings import Space, joins

AT_ONCE = 256  # rows: some milliseconds of work for those who take them


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """A turn or a memory; `single` and `window` are the bytes of its vectors, None if not made yet.

    A turn takes its marks from the memories that quote it: the latest painful mark, and muted or sensitive if any of
    them is.
    """

    kind: ItemKind
    id: str
    text: str
    at: datetime
    speaker: str | None
    conversation: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    single: bytes | None
    window: bytes | None
    painful_at: datetime | None = None
    muted: bool = False
    sensitive: bool = False

    persona: str | None = None
    within: str | None = None  # the conversation that a memory belongs to, by the application's name
    parts: bytes | None = None  # more vectors, of the parts of a long text


async def changes(
    engine: AsyncEngine, owner: Owner, space: Space, *, since: int
) -> AsyncGenerator[Sequence[CorpusRow], None]:
    """Changes after version `since` (0: all), in batches; turns of a conversation are in order.

    A change made meanwhile may be included or not: it comes again with the next version.
    """
    async with engine.connect() as connection:
        is_all = since == 0
        queries: tuple[tuple[ItemKind, Select[Any]], ...] = (
            ("turn", _turns(space, is_all=is_all)),
            ("memory", _memories(space, is_all=is_all)),
        )
        marks = await _marks(connection, owner)
        for kind, query in queries:
            rows = await connection.stream(query, owner.columns | {"since": since})
            async for portion in rows.partitions(AT_ONCE):
                if kind == "memory":
                    yield [CorpusRow(kind, *row) for row in portion]
                else:
                    yield [CorpusRow(kind, *_marked(row, marks.get(row.id, NO_MARKS))) for row in portion]


def _marked(row: Any, marks: tuple[datetime | None, bool, bool]) -> Sequence[Any]:
    """A turn's columns, with its marks; it belongs to no persona, and where it was said is its conversation."""
    return (*row[:-1], *marks, None, None, row.parts)


async def _marks(connection: AsyncConnection, owner: Owner) -> dict[str, tuple[datetime | None, bool, bool]]:
    """Per message quoted by a marked memory: when it was marked as painful, and whether it is muted, and sensitive."""
    found: dict[str, tuple[datetime | None, bool, bool]] = {}
    for id_, painful_at, muted, sensitive in await connection.execute(_MARKS, owner.columns):
        before, was_muted, was_sensitive = found.get(id_, (None, False, False))
        latest = max(filter(None, (before, painful_at)), default=None)
        found[id_] = (latest, was_muted or muted, was_sensitive or sensitive)
    return found


NO_MARKS = (None, False, False)
_IS_SENSITIVE = Memory.sensitivity == "sensitive"
_MARKS = WHOEVER.select(Memory, Memory.message_id, Memory.painful_at, Memory.muted, _IS_SENSITIVE).where(
    Memory.message_id.is_not(None),
    or_(Memory.painful_at.is_not(None), Memory.muted, _IS_SENSITIVE),
    are_current(Memory.id),
)


@cache
def _turns(space: Space, *, is_all: bool) -> Select[Any]:
    shown = (Message.id, Message.text, Message.said_at, Message.speaker, Message.conversation_id)
    query = WHOEVER.select(Message, *shown, null(), null(), Embedding.single, Embedding.window, Embedding.parts)
    query = query.outerjoin(Embedding, joins(Message, "turn", space)).where(*_since(Message, "turn", is_all=is_all))
    return query.order_by(Message.said_at, Message.position, Message.external_id)


@cache
def _memories(space: Space, *, is_all: bool) -> Select[Any]:
    at = func.coalesce(Memory.event_at, Memory.created_at)
    shown = (Memory.id, Memory.text, at, Memory.speaker, null(), Memory.valid_from, Memory.valid_until)
    marks = (Memory.painful_at, Memory.muted, _IS_SENSITIVE, Memory.persona, Memory.conversation, Embedding.parts)
    query = WHOEVER.select(Memory, *shown, Embedding.single, null(), *marks)
    query = query.outerjoin(Embedding, joins(Memory, "memory", space)).where(*_since(Memory, "memory", is_all=is_all))
    return query.order_by(Memory.created_at, Memory.id)


def _since(table: type[Message] | type[Memory], kind: ItemKind, *, is_all: bool) -> list[ColumnElement[bool]]:
    if is_all:
        return []
    since = bindparam("since", type_=Integer)
    itself = WHOEVER.select(table, table.id).where(table.changed_in > since)
    vectors = WHOEVER.select(Embedding, Embedding.item_id).where(Embedding.kind == kind, Embedding.changed_in > since)
    return [table.id.in_(union(itself, vectors))]
