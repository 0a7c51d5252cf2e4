"""Items that a wish in a chat removed; they can be restored until they are deleted permanently.

The rows leave all other tables, so no reader needs to know about this: they are neither recalled, exported nor listed.
Vectors and summaries are not kept but made again. This module does not know wishes, nor how long they can be undone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.erasure.log import Erased, ErasureLog
from storage.memory.conversations import TurnPosition, beside, conversation_id_of, void_windows
from storage.memory.former_texts import turns_of
from storage.memory.memories import present_memories
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.tables import Conversation, ItemKind, Memory, Message, Owned, ReplyContextItem, SetAside
from storage.tables import UtcDateTime

AT_ONCE = 200  # rows in one statement


@dataclass(frozen=True, slots=True)
class Aside:
    """The wish that sets items aside, and their expiry."""

    wish_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class WishRecord:
    """A wish that can still be undone, and the number of removed items."""

    id: str
    created_at: datetime
    expires_at: datetime
    turns: int
    memories: int


@dataclass(frozen=True, slots=True)
class AsideItem:
    """A turn or memory that is set aside."""

    kind: ItemKind
    id: str
    text: str
    speaker: str | None


@dataclass(frozen=True, slots=True)
class PutBack:
    """The number of restored turns and memories, and the new version."""

    turns: int
    memories: int
    version: int


async def set_aside(
    connection: AsyncConnection,
    owner: Owner,
    aside: Aside,
    *,
    turns: Collection[str],
    memories: Collection[str],
    now: datetime,
) -> None:
    """Copy these turns and memories, within the change that deletes them."""
    named = owner.select(Conversation, Conversation.id, Conversation.external_id)
    names = {row.id: row.external_id for row in await connection.execute(named)}
    later = owner.select(Memory, Memory.id, Memory.superseded_by).where(Memory.superseded_by.in_(memories))
    superseded: dict[str, list[str]] = {}
    for id_, by in await connection.execute(later):
        superseded.setdefault(by, []).append(id_)
    context_rows = [dict(row) for row in await _rows(connection, owner, ReplyContextItem, _context_of(turns, memories))]
    rows = []
    for kind, table, ids in (("turn", Message, turns), ("memory", Memory, memories)):
        for row in await _rows(connection, owner, table, table.id.in_(ids)):
            id_ = row["id"]
            own = [each for each in context_rows if (kind, id_) in _ends(each)]
            content = {
                "row": _as_json(row),
                "given": [_as_json(each) for each in own],
                "superseded": superseded.get(id_, []),
            }
            rows.append(
                {
                    **owner.columns,
                    "wish_id": aside.wish_id,
                    "kind": kind,
                    "item_id": id_,
                    "message_id": id_ if kind == "turn" else row["message_id"],
                    "conversation": names[row["conversation_id"]] if kind == "turn" else None,
                    "content": content,
                    "created_at": now,
                    "expires_at": aside.expires_at,
                }
            )
    for first in range(0, len(rows), AT_ONCE):
        await connection.execute(insert(SetAside), rows[first : first + AT_ONCE])


async def list_wishes(engine: AsyncEngine, owner: Owner, *, now: datetime) -> list[WishRecord]:
    """The person's wishes that can be undone, newest first."""
    columns = (
        SetAside.wish_id,
        func.min(SetAside.created_at, type_=UtcDateTime()),
        func.min(SetAside.expires_at, type_=UtcDateTime()),
        func.count().filter(SetAside.kind == "turn"),
        func.count().filter(SetAside.kind == "memory"),
    )
    query = owner.select(SetAside, *columns).where(SetAside.expires_at > now).group_by(SetAside.wish_id)
    async with engine.connect() as connection:
        found = [WishRecord(*row) for row in await connection.execute(query)]
    return sorted(found, key=lambda each: (each.created_at, each.id), reverse=True)


async def list_items(engine: AsyncEngine, owner: Owner, wish_id: str) -> list[AsideItem]:
    """What a wish set aside: turns first, in the order of their times."""
    query = owner.select(SetAside, SetAside.kind, SetAside.item_id, SetAside.content).where(SetAside.wish_id == wish_id)
    async with engine.connect() as connection:
        found = (await connection.execute(query)).all()
    rows = sorted(found, key=lambda each: (each.kind != "turn", each.content["row"].get("said_at") or "", each.item_id))
    return [
        AsideItem(_kind(kind), id_, content["row"]["text"], content["row"].get("speaker"))
        for kind, id_, content in rows
    ]


async def put_back(engine: AsyncEngine, owner: Owner, wish_id: str, *, now: datetime) -> PutBack | None:
    """Undo a wish; None if there is nothing to undo.

    Items that were ingested again since then are kept as they are. A memory whose source is gone loses its reference.
    """
    of_wish = SetAside.wish_id == wish_id
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now, rewrites=True)
        query = owner.select(SetAside, *_KEPT).where(of_wish, SetAside.expires_at > now)
        found = (await connection.execute(query)).all()
        if not found:
            await connection.rollback()
            return None
        turns = [each for each in found if each.kind == "turn"]
        turns_back = await _turns_back(connection, owner, turns, version=version, now=now)
        remembered = [each.content for each in found if each.kind == "memory"]
        memories_back = await _memories_back(connection, owner, remembered, version)
        context_rows = [each for row in found for each in row.content["given"]]
        await _restore_context(connection, owner, context_rows)
        await connection.execute(owner.delete(SetAside).where(of_wish))
    return PutBack(turns_back, memories_back, version)


async def wipe(connection: AsyncConnection, owner: Owner, condition: ColumnElement[bool]) -> int:
    """Permanently delete matching items, within an open change; returns their number."""
    return (await connection.execute(owner.delete(SetAside).where(condition))).rowcount


def of_items(turns: Sequence[str], memories: Sequence[str]) -> ColumnElement[bool]:
    """The condition for items that are one of these turns or memories, or quote one of the turns."""
    of_memories = (SetAside.kind == "memory") & SetAside.item_id.in_(memories)
    return or_(SetAside.message_id.in_(turns), of_memories)


async def wipe_wish(engine: AsyncEngine, owner: Owner, wish_id: str, log: ErasureLog | None = None) -> bool:
    """Permanently delete the items of a wish and record it in `log`; whether there were any."""
    of_wish = SetAside.wish_id == wish_id
    async with engine.begin() as connection:
        await _note(connection, owner.has(SetAside) & of_wish, log)
        return bool(await wipe(connection, owner, of_wish))


async def wipe_expired(engine: AsyncEngine, *, now: datetime, log: ErasureLog | None = None) -> int:
    """Permanently delete all expired items of everyone and record it in `log`; returns their number."""
    expired = SetAside.expires_at <= now
    async with engine.begin() as connection:
        await _note(connection, expired, log)
        return (await connection.execute(delete(SetAside).where(expired))).rowcount


def _kind(kind: str) -> ItemKind:
    return "memory" if kind == "memory" else "turn"


async def _note(connection: AsyncConnection, condition: ColumnElement[bool], log: ErasureLog | None) -> None:
    if log is None:
        return
    rows = await connection.execute(
        select(SetAside.app, SetAside.end_user, SetAside.kind, SetAside.item_id).where(condition)
    )
    erased: list[Erased] = []
    for app, user, kind, item in rows:
        owner = Owner(app, user)
        erased.append(Erased.item(_kind(kind), owner, item))
        erased += [Erased.item("turn", owner, each) for each in turns_of([item])]
    await log.note(connection, erased)


_KEPT = (SetAside.kind, SetAside.item_id, SetAside.conversation, SetAside.content)


def _context_of(turns: Collection[str], memories: Collection[str]) -> ColumnElement[bool]:
    of_items = [
        (ReplyContextItem.kind == kind) & ReplyContextItem.item_id.in_(ids)
        for kind, ids in (("turn", turns), ("memory", memories))
    ]
    return or_(ReplyContextItem.message_id.in_([*turns, *memories]), *of_items)


def _ends(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The keys of the reply, which is a memory once it was replaced, and of the item."""
    return ("turn", row["message_id"]), ("memory", row["message_id"]), (row["kind"], row["item_id"])


async def _rows(
    connection: AsyncConnection, owner: Owner, table: type[Owned], condition: ColumnElement[bool]
) -> list[Mapping[str, Any]]:
    found = await connection.execute(owner.select(table).where(condition))
    return [{name: value for name, value in row.items() if name not in owner.columns} for row in found.mappings()]


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _as_row(table: type[Owned], kept: Mapping[str, Any], owner: Owner) -> dict[str, Any]:
    """The row; columns added to the table since then get their defaults."""
    assert isinstance(table.__table__, Table), "no join"
    row: dict[str, Any] = dict(owner.columns)
    for column in table.__table__.columns:
        if column.name in kept:
            value: Any = kept[column.name]
            is_time = isinstance(column.type, UtcDateTime) and value is not None
            row[column.name] = datetime.fromisoformat(value).astimezone(UTC) if is_time else value
    return row


async def _turns_back(
    connection: AsyncConnection, owner: Owner, kept: Sequence[Any], *, version: int, now: datetime
) -> int:
    back = 0
    for conversation in sorted({each.conversation for each in kept}):
        id_ = await conversation_id_of(connection, owner, conversation, now)
        columns = (Message.external_id, Message.said_at, Message.position, Message.id)
        query = owner.select(Message, *columns).where(Message.conversation_id == id_)
        there = (await connection.execute(query)).all()
        known = {each.external_id for each in there}
        rows = [
            _as_row(Message, each.content["row"], owner)
            | {"conversation_id": id_, "changed_in": version, "summarised_at": None}
            for each in kept
            if each.conversation == conversation and each.content["row"]["external_id"] not in known
        ]
        if rows:
            staying = [TurnPosition(each.said_at, each.position, each.id) for each in there]
            coming = [TurnPosition(row["said_at"], row["position"], row["id"]) for row in rows]
            await void_windows(connection, owner, beside(staying, coming), version)
            await connection.execute(insert(Message), rows)
            back += len(rows)
    return back


async def _memories_back(
    connection: AsyncConnection, owner: Owner, kept: Sequence[Mapping[str, Any]], version: int
) -> int:
    there = await present_memories(connection, owner, [each["row"]["id"] for each in kept])
    missing = [each for each in kept if each["row"]["id"] not in there]
    if not missing:
        return 0
    sources = await _texts(connection, owner, [each["row"]["message_id"] for each in missing])
    rows = []
    for each in missing:
        row = _as_row(Memory, each["row"], owner) | {"changed_in": version}
        text = sources.get(row["message_id"] or "")
        if text is None or (row["quote"] or "") not in text:
            row |= {"message_id": None, "quote": None}
        rows.append(row)
    await connection.execute(insert(Memory), rows)
    ids = {row["id"] for row in rows}
    ids |= await present_memories(connection, owner, [row["superseded_by"] for row in rows if row["superseded_by"]])
    dangling = [row["id"] for row in rows if row["superseded_by"] not in {None, *ids}]
    await _supersede(connection, owner, dangling, None, version)
    for each in missing:
        await _supersede(connection, owner, each["superseded"], each["row"]["id"], version)
    return len(rows)


async def _supersede(
    connection: AsyncConnection, owner: Owner, ids: Sequence[str], by: str | None, version: int
) -> None:
    if ids:
        condition = Memory.id.in_(ids) & (Memory.superseded_by.is_(None) if by else Memory.superseded_by.is_not(None))
        changed = owner.update(Memory).where(condition).values(superseded_by=by, changed_in=version)
        await connection.execute(changed.execution_options(synchronize_session=False))


async def _texts(connection: AsyncConnection, owner: Owner, ids: Sequence[str | None]) -> dict[str, str]:
    named = [id_ for id_ in ids if id_ is not None]
    query = owner.select(Message, Message.id, Message.text).where(Message.id.in_(named))
    return {row.id: row.text for row in await connection.execute(query)}


async def _restore_context(connection: AsyncConnection, owner: Owner, kept: Sequence[Mapping[str, Any]]) -> None:
    """Restore reply contexts whose reply and item both exist again, unless already present."""
    by_key = {(each["message_id"], each["kind"], each["item_id"]): each for each in kept}
    if not by_key:
        return
    turns = [id_ for reply, kind, item in by_key for id_ in (reply, item if kind == "turn" else None)]
    there = {("turn", id_) for id_ in await _texts(connection, owner, turns)}
    named = [id_ for reply, kind, item in by_key for id_ in (reply, item if kind == "memory" else reply)]
    there |= {("memory", id_) for id_ in await present_memories(connection, owner, named)}
    columns = (ReplyContextItem.message_id, ReplyContextItem.kind, ReplyContextItem.item_id)
    query = owner.select(ReplyContextItem, *columns).where(
        ReplyContextItem.message_id.in_({reply for reply, _, _ in by_key})
    )
    known = {tuple(row) for row in await connection.execute(query)}
    rows = [
        _as_row(ReplyContextItem, each, owner)
        for key, each in by_key.items()
        if key not in known and not there.isdisjoint({("turn", key[0]), ("memory", key[0])}) and key[1:] in there
    ]
    if rows:
        await connection.execute(insert(ReplyContextItem), rows)
