"""Adds, finds, changes and deletes memories.

This module knows embeddings only in one respect: a changed text voids its embedding.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, or_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.erasure.log import Erased, ErasureLog
from storage.memory.former_texts import (
    are_current,
    are_former,
    are_of_former,
    former_row,
    former_texts_of,
    turns_of,
    with_former,
)
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.summaries import drop_sources, drop_summaries_of
from storage.memory.tables import (
    Embedding,
    Memory,
    MemoryKind,
    MemorySource,
    Message,
    ReplyContextItem,
    Sensitivity,
    SetAside,
)

ROWS_AT_ONCE = 200
MAX_MATCHING = 100_000


class NoSuchMemory(Exception):
    """The owner has no memory with this id (the only argument)."""


class NoSuchMessage(Exception):
    """The owner has no message with this id, which is the only argument."""


class NotVerbatim(Exception):
    """The quote does not occur word for word in the message."""


class EmptyInterval(Exception):
    """The interval would end before or at its start."""


class ChangedMeanwhile(Exception):
    """The memory has changed since the caller read it; the argument is its current `changed_in`."""


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory to store; see `storage.memory.tables.Memory` for the fields."""

    text: str
    kind: MemoryKind = "fact"
    speaker: str | None = None
    quote: str | None = None
    message_id: str | None = None
    event_at: datetime | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    confidence: float = 1.0
    sensitivity: Sensitivity = "ordinary"
    pinned: bool = False
    superseded_by: str | None = None
    painful_at: datetime | None = None
    muted: bool = False
    tags: tuple[str, ...] = ()
    persona: str | None = None
    conversation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord(NewMemory):
    """A stored memory. `changed_in` counts the owner's changes: later states have greater values."""

    id: str
    changed_in: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Where something is recalled: as which persona, in which conversation (by the application's name)."""

    persona: str | None = None
    conversation: str | None = None

    def admits(self, persona: str | None, conversation: str | None) -> bool:
        """Whether a memory that belongs there may be recalled here; one that belongs nowhere may be anywhere."""
        return persona in (None, self.persona) and conversation in (None, self.conversation)


ANYWHERE = Scope()


@dataclass(frozen=True, slots=True)
class MemoryFilter:
    """Which memories to list; each field that is not None narrows the list.

    `has_text` is asked about text and quote. `tags`: any of these. `since` and `until` bound the time of the event, or
    of storing it if the event's time is unknown. `holding_at`: only memories that are valid at this instant.
    """

    kinds: Sequence[MemoryKind] | None = None
    has_text: Callable[[str], bool] | None = None
    since: datetime | None = None
    until: datetime | None = None
    holding_at: datetime | None = None
    pinned: bool | None = None
    muted: bool | None = None
    tags: Sequence[str] | None = None
    persona: str | None = None
    conversation: str | None = None
    former_of: str | None = None
    with_former: bool = False

    def has(self, record: MemoryRecord) -> bool:
        """Whether a memory that SQL found is meant: by its text and its tags, which databases compare differently."""
        is_tagged = self.tags is None or not set(self.tags).isdisjoint(record.tags)
        texts = (record.text, record.quote or "")
        return is_tagged and (self.has_text is None or any(map(self.has_text, texts)))

    @property
    def looks_inside(self) -> bool:
        """Whether `has` decides anything."""
        return self.has_text is not None or self.tags is not None


async def add_memory(
    engine: AsyncEngine,
    owner: Owner,
    new: NewMemory,
    *,
    now: datetime,
    id_: str | None = None,
    supersedes: str | None = None,
) -> tuple[MemoryRecord, bool]:
    """Store a memory, or return the existing one with this `id_`; the second value tells whether it is new.

    The memory that it `supersedes` ends when the new one begins (now, if no time is given), unless it had already
    ended.

    Raises:
        NoSuchMemory: there is none to supersede.
        NoSuchMessage, NotVerbatim, EmptyInterval: see there.

    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        record, is_new = await put_memory(
            connection, owner, new, version=version, now=now, id_=id_, supersedes=supersedes
        )
        if not is_new:
            await connection.rollback()
    return record, is_new


async def put_memory(
    connection: AsyncConnection,
    owner: Owner,
    new: NewMemory,
    *,
    version: int,
    now: datetime,
    id_: str | None = None,
    supersedes: str | None = None,
) -> tuple[MemoryRecord, bool]:
    """`add_memory` within an open change; if it raises, it has written nothing."""
    check_interval(new.valid_from, new.valid_until)
    if id_ is not None:
        found = await _find(connection, owner, id_)
        if found is not None:
            return found, False
    speaker = await check_source(connection, owner, new.quote, new.message_id)
    id_ = id_ or secrets.token_hex(8)
    if supersedes is not None:
        ended = {"superseded_by": id_, "changed_in": version, "updated_at": now}
        await _supersede(connection, owner, supersedes, ended, at=new.valid_from or now)
    row = new_row(replace(new, speaker=new.speaker or speaker), id_, version=version, now=now)
    await connection.execute(insert(Memory).values(**owner.columns, **row))
    if new.muted or new.painful_at is not None or new.sensitivity == "sensitive":
        await touch_sources(connection, owner, [new.message_id], version)
    return MemoryRecord(**row), True


def new_row(new: NewMemory, id_: str, *, version: int, now: datetime) -> dict[str, Any]:
    """The columns of a new memory, without the owner's."""
    return asdict(new) | {"id": id_, "changed_in": version, "created_at": now, "updated_at": now}


async def find_memories(engine: AsyncEngine, owner: Owner, ids: Sequence[str]) -> dict[str, MemoryRecord]:
    """The owner's memories among `ids`."""
    async with engine.connect() as connection:
        rows = await connection.execute(owner.select(Memory, *_COLUMNS).where(Memory.id.in_(ids)))
        return {row.id: MemoryRecord(**row._mapping) for row in rows}


async def present_memories(connection: AsyncConnection, owner: Owner, ids: Collection[str]) -> set[str]:
    """The ids among `ids` that exist for the owner, within an open change."""
    return set((await connection.execute(owner.select(Memory, Memory.id).where(Memory.id.in_(ids)))).scalars())


async def list_memories(
    engine: AsyncEngine, owner: Owner, filters: MemoryFilter, *, limit: int, after: str | None = None
) -> list[MemoryRecord]:
    """At most `limit` memories, newest first; with `after`, those that follow that memory.

    Former texts are left out, unless they are all there is (`former_of`) or come `with_former`. Raises NoSuchMemory if
    `after` does not exist (any more).
    """
    query = owner.select(Memory, *_COLUMNS).where(*_conditions(filters))
    query = query.order_by(Memory.created_at.desc(), Memory.id.desc())
    async with engine.connect() as connection:
        if after is not None:
            last = await _find(connection, owner, after)
            if last is None:
                raise NoSuchMemory(after)
            same = and_(Memory.created_at == last.created_at, Memory.id < last.id)
            query = query.where(or_(Memory.created_at < last.created_at, same))
        if not filters.looks_inside:
            return [MemoryRecord(**row._mapping) for row in await connection.execute(query.limit(limit))]
        found: list[MemoryRecord] = []
        async for rows in (await connection.stream(query)).partitions(ROWS_AT_ONCE):
            found += filter(filters.has, (MemoryRecord(**row._mapping) for row in rows))
            if len(found) >= limit:
                break
        return found[:limit]


async def ids_of_memories(engine: AsyncEngine, owner: Owner, filters: MemoryFilter) -> set[str]:
    """The ids of all memories that match."""
    return {each.id for each in await list_memories(engine, owner, filters, limit=MAX_MATCHING)}


async def edit_memory(
    engine: AsyncEngine,
    owner: Owner,
    id_: str,
    changes: Mapping[str, Any],
    *,
    now: datetime,
    changed_in: int | None = None,
) -> MemoryRecord:
    """Set the fields (of NewMemory) in `changes`, and keep the others; a text that changes is kept as a former one.

    Raises:
        NoSuchMemory: there is none.
        ChangedMeanwhile: `changed_in` is given, and it is in another state.
        NoSuchMessage, NotVerbatim, EmptyInterval: see there.

    """
    async with engine.begin() as connection:
        rewrites = not changes.keys().isdisjoint(_RECALLED)
        version = await bump(connection, owner, now=now, rewrites=rewrites)
        before = await _find(connection, owner, id_)
        if before is None:
            raise NoSuchMemory(id_)
        if changed_in not in (None, before.changed_in):
            raise ChangedMeanwhile(before.changed_in)
        values = dict(changes) | {"changed_in": version, "updated_at": now}
        after = replace(before, **values)
        check_interval(after.valid_from, after.valid_until)
        if not changes.keys().isdisjoint({"quote", "message_id"}):
            await check_source(connection, owner, after.quote, after.message_id)
        await connection.execute(owner.update(Memory).where(Memory.id == id_).values(values))
        marks = {name: values[name] for name in changes.keys() & _SHARED}
        if marks:
            former = owner.update(Memory).where(are_former(Memory.id, id_))
            await connection.execute(former.values(marks | {"changed_in": version}))
        if after.text != before.text:
            await _void_embeddings(connection, owner, id_)
            row = former_row(replace(before, **marks), version=version, now=now)
            await connection.execute(insert(Memory).values(**owner.columns, **row))
        if not changes.keys().isdisjoint(_MARKS):
            await touch_sources(connection, owner, [before.message_id, after.message_id], version)
    return after


async def delete_memory(
    engine: AsyncEngine, owner: Owner, id_: str, *, now: datetime, log: ErasureLog | None = None
) -> None:
    """Delete a memory, even if set aside, with its embeddings and references to it; raises NoSuchMemory.

    The deletion is recorded in `log`.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now, rewrites=True)
        await drop_sources(connection, owner, [id_])
        quoted = owner.select(Memory, Memory.id).where(are_of_former([id_]))
        ended = (await connection.execute(quoted)).scalars().all()
        named = or_(with_former(Memory.id, id_), Memory.id.in_(ended))
        deleted = await connection.execute(owner.delete(Memory).where(named))
        aside = await connection.execute(
            owner.delete(SetAside).where(SetAside.kind == "memory", with_former(SetAside.item_id, id_))
        )
        if not deleted.rowcount and not aside.rowcount:
            raise NoSuchMemory(id_)
        for table in (Embedding, ReplyContextItem):
            about = or_(with_former(table.item_id, id_), table.item_id.in_(ended))
            await connection.execute(owner.delete(table).where(table.kind == "memory", about))
        reasons = owner.delete(ReplyContextItem).where(ReplyContextItem.message_id == id_)
        await connection.execute(reasons)  # of a reply that was replaced
        others = owner.update(Memory).where(Memory.superseded_by == id_)
        await connection.execute(others.values(superseded_by=None, changed_in=version))
        if log is not None:
            await log.note(connection, [Erased.item("memory", owner, id_)])
            await log.note(connection, [Erased.item("turn", owner, each) for each in turns_of([id_])])


async def drop_memories(
    connection: AsyncConnection, owner: Owner, memories: Sequence[MemoryRecord], *, version: int, now: datetime
) -> None:
    """Delete memories that are made anew, within an open change; what they ended has not ended."""
    if not memories:
        return
    await bump(connection, owner, now=now, rewrites=True)
    ids = [each.id for each in memories]
    ids += await former_texts_of(connection, owner, ids)
    for each in memories:
        await hold_again(connection, owner, each, version=version, now=now)
    for table in (Embedding, ReplyContextItem):
        gone = owner.delete(table).where(table.kind == "memory", table.item_id.in_(ids))
        await connection.execute(gone)
    await connection.execute(owner.delete(Memory).where(Memory.id.in_(ids)))


async def hold_again(
    connection: AsyncConnection, owner: Owner, memory: MemoryRecord, *, version: int, now: datetime
) -> None:
    """Undo, within an open change, that other memories ended with this one."""
    ended = owner.update(Memory).where(Memory.superseded_by == memory.id, are_current(Memory.id))
    by_this = Memory.valid_until == (memory.valid_from or memory.created_at)
    await connection.execute(ended.where(by_this).values(valid_until=None))
    await connection.execute(ended.values(superseded_by=None, changed_in=version, updated_at=now))


async def memories_that_quote(connection: AsyncConnection, owner: Owner, turns: Collection[str]) -> list[MemoryRecord]:
    """The memories that quote one of these turns or belong to it; no former texts."""
    quoting = owner.select(Memory, *_COLUMNS).where(Memory.message_id.in_(turns), are_current(Memory.id))
    return [MemoryRecord(**row._mapping) for row in await connection.execute(quoting)]


async def count_memory(engine: AsyncEngine, owner: Owner, id_: str) -> dict[str, int]:
    """The number of rows per table that concern this memory."""
    counts = {
        "memories": owner.select(Memory, func.count()).where(
            or_(with_former(Memory.id, id_), Memory.superseded_by == id_)
        ),
        "memory_sources": owner.select(MemorySource, func.count()).where(MemorySource.memory_id == id_),
        "embeddings": owner.select(Embedding, func.count()).where(
            Embedding.kind == "memory", with_former(Embedding.item_id, id_)
        ),
        "given": owner.select(ReplyContextItem, func.count()).where(
            or_(
                and_(ReplyContextItem.kind == "memory", with_former(ReplyContextItem.item_id, id_)),
                ReplyContextItem.message_id == id_,
            )
        ),
        "set_aside": owner.select(SetAside, func.count()).where(
            SetAside.kind == "memory", with_former(SetAside.item_id, id_)
        ),
    }
    async with engine.connect() as connection:
        return {table: int((await connection.execute(query)).scalar_one()) for table, query in counts.items()}


async def check_source(
    connection: AsyncConnection, owner: Owner, quote: str | None, message_id: str | None
) -> str | None:
    """The speaker of the source; raises NoSuchMessage, and NotVerbatim also for a quote without a message."""
    if message_id is None:
        check_quote(quote, None)
        return None
    query = owner.select(Message, Message.text, Message.speaker).where(Message.id == message_id)
    source = (await connection.execute(query)).one_or_none()
    if source is None:
        raise NoSuchMessage(message_id)
    check_quote(quote, source.text)
    return str(source.speaker)


def check_quote(quote: str | None, text: str | None) -> None:
    """Raise NotVerbatim unless the quote occurs in `text`; None contains no quote."""
    if quote is not None and (text is None or quote not in text):
        raise NotVerbatim


async def touch_sources(
    connection: AsyncConnection, owner: Owner, message_ids: Iterable[str | None], version: int
) -> None:
    """Make recall read these messages again, because their marks come from the memories that quote them.

    Summaries made from them are dropped: the next ones are made with the marks.
    """
    named = list({id_ for id_ in message_ids if id_ is not None})
    if named:
        await drop_summaries_of(connection, owner, named, version)
        await connection.execute(owner.update(Message).where(Message.id.in_(named)).values(changed_in=version))


def check_interval(valid_from: datetime | None, valid_until: datetime | None) -> None:
    """Raise EmptyInterval if nothing lies between `valid_from` and `valid_until`."""
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        raise EmptyInterval


_RECALLED = {"text", "speaker", "event_at"}  # what recall ranks by: see storage.memory.change_feed
_SHARED = {"painful_at", "muted", "sensitivity", "persona", "conversation"}  # marks of former texts as well
_MARKS = {"painful_at", "muted", "sensitivity", "message_id"}
_COLUMNS = tuple(getattr(Memory, field) for field in MemoryRecord.__dataclass_fields__)


def _conditions(filters: MemoryFilter) -> list[ColumnElement[bool]]:
    at = func.coalesce(Memory.event_at, Memory.created_at)
    former = filters.former_of
    conditions: list[ColumnElement[bool]] = []
    if former is not None:
        conditions.append(are_former(Memory.id, former))
    elif not filters.with_former:
        conditions.append(are_current(Memory.id))
    if filters.kinds is not None:
        conditions.append(Memory.kind.in_(filters.kinds))
    if filters.persona is not None:
        conditions.append(Memory.persona == filters.persona)
    if filters.conversation is not None:
        conditions.append(Memory.conversation == filters.conversation)
    if filters.since is not None:
        conditions.append(at >= filters.since)
    if filters.until is not None:
        conditions.append(at < filters.until)
    if filters.holding_at is not None:
        conditions.append(or_(Memory.valid_from.is_(None), Memory.valid_from <= filters.holding_at))
        conditions.append(or_(Memory.valid_until.is_(None), Memory.valid_until > filters.holding_at))
    if filters.pinned is not None:
        conditions.append(Memory.pinned.is_(filters.pinned))
    if filters.muted is not None:
        conditions.append(Memory.muted.is_(filters.muted))
    return conditions


async def _find(connection: AsyncConnection, owner: Owner, id_: str) -> MemoryRecord | None:
    row = (await connection.execute(owner.select(Memory, *_COLUMNS).where(Memory.id == id_))).one_or_none()
    return None if row is None else MemoryRecord(**row._mapping)


async def _supersede(
    connection: AsyncConnection, owner: Owner, id_: str, values: Mapping[str, Any], *, at: datetime
) -> None:
    old = await _find(connection, owner, id_)
    if old is None:
        raise NoSuchMemory(id_)
    check_interval(old.valid_from, at)
    until = at if old.valid_until is None else min(at, old.valid_until)
    await connection.execute(owner.update(Memory).where(Memory.id == id_).values(**values, valid_until=until))


async def _void_embeddings(connection: AsyncConnection, owner: Owner, id_: str) -> None:
    of_memory = owner.delete(Embedding).where(Embedding.kind == "memory", Embedding.item_id == id_)
    await connection.execute(of_memory)
