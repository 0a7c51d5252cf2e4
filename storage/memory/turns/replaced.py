"""Replaces turns by another: a new answer takes an earlier one's place, an edited message that of what it was.

Nothing is lost by it. What a turn said stays as a former text (`storage.memory.former_texts`), a memory that ended and
belongs to the turn that stands there now; a reply's is muted as well, since nobody asks what was answered first. The
reasons of a reply stay with its former text, under the external id that it had. A memory that quoted a replaced turn
ends, and becomes a former text as well; what it had ended holds again, and summaries are made anew.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, insert, or_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.conversations import (
    Ingested,
    NewMessage,
    StoredConversation,
    TurnPosition,
    beside,
    message_row,
    void_windows,
)
from storage.memory.former_texts import are_former, former_row, prefix_of
from storage.memory.memories import MemoryRecord, hold_again, memories_that_quote
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.summaries import drop_summaries_of
from storage.memory.tables import Conversation, Embedding, Memory, Message, ReplyContextItem, SetAside


class PlacedTurn(NamedTuple):
    """A turn with its place; `answers` is the id of the turn that it is the reply to."""

    id: str
    external_id: str
    conversation_id: str
    speaker: str
    text: str
    said_at: datetime
    position: int
    answers: str | None


PLACED = tuple(getattr(Message, field) for field in PlacedTurn._fields)


class FormerTurn(NamedTuple):
    """What a turn said before it was replaced, from `said_at` to `until`.

    `id` is that of its former text, `replaced_by` the turn that stands there now.
    """

    id: str
    speaker: str
    text: str
    said_at: datetime
    until: datetime
    replaced_by: str


def former_id(turn: PlacedTurn) -> str:
    """The id of what a turn said, once it is replaced."""
    return prefix_of(_name_of(turn.external_id)) + turn.id


async def reply_to(
    connection: AsyncConnection, owner: Owner, stored: StoredConversation, turn: str
) -> PlacedTurn | None:
    """The reply to a turn of a conversation, by the turn's id."""
    of_turn = (Message.conversation_id == stored.conversation_id, Message.answers == turn)
    row = (await connection.execute(owner.select(Message, *PLACED).where(*of_turn))).first()
    return None if row is None else PlacedTurn(*row)


async def put_in_place(
    connection: AsyncConnection, owner: Owner, going: Sequence[PlacedTurn], new: NewMessage, *, now: datetime
) -> Ingested:
    """Put a turn in the place of the first of these, which follow each other, within an open change."""
    first, id_ = going[0], secrets.token_hex(8)
    version = await bump(connection, owner, now=now, rewrites=True)
    columns = (Message.said_at, Message.position, Message.id)
    there = owner.select(Message, *columns).where(Message.conversation_id == first.conversation_id)
    positions = [TurnPosition(*row) for row in await connection.execute(there)]
    gone = {each.id for each in going}
    staying = [each for each in positions if each.id not in gone]
    is_last = all((each.said_at, each.position) < (first.said_at, first.position) for each in staying)
    said_at = max(first.said_at, new.said_at) if is_last else first.said_at
    await void_windows(connection, owner, beside(staying, [each for each in positions if each.id in gone]), version)
    await _make_former(connection, owner, going, id_, version=version, now=now)
    place = TurnPosition(said_at, first.position, id_)
    row = message_row(owner, first.conversation_id, new, place, version=version, now=now)
    await connection.execute(insert(Message), [row])
    ids, added = {new.external_id: id_}, frozenset([new.external_id])
    return Ingested(first.conversation_id, ids, added, (), version)


async def former_turns(engine: AsyncEngine, owner: Owner, turn: str) -> list[FormerTurn]:
    """What stood in the place of a turn (by its id) before, the latest first."""
    return await _read(engine, owner, Memory.message_id == turn)


async def find_replaced(
    engine: AsyncEngine, owner: Owner, external_id: str, *, conversation: str | None = None
) -> list[FormerTurn]:
    """The replaced turns that had this external id, in the application's `conversation` if it is given."""
    conditions = [are_former(Memory.id, _name_of(external_id))]
    if conversation is not None:
        named = owner.select(Conversation, Conversation.id).where(Conversation.external_id == conversation)
        there = owner.select(Message, Message.id).where(Message.conversation_id.in_(named))
        conditions.append(Memory.message_id.in_(there))
    return await _read(engine, owner, *conditions)


def are_former_turns() -> ColumnElement[bool]:
    """The condition that a memory is what a turn said; the former text of a memory names that memory."""
    return and_(are_former(Memory.id), Memory.superseded_by.is_(None), Memory.message_id.is_not(None))


def _name_of(external_id: str) -> str:
    """What the ids of a turn's former texts are made of; no memory has such an id."""
    return f"\0{external_id}"


async def _read(engine: AsyncEngine, owner: Owner, *conditions: ColumnElement[bool]) -> list[FormerTurn]:
    columns = (Memory.id, Memory.speaker, Memory.text, Memory.created_at, Memory.valid_until, Memory.message_id)
    query = owner.select(Memory, *columns).where(are_former_turns(), *conditions)
    async with engine.connect() as connection:
        rows = await connection.execute(query.order_by(Memory.valid_until.desc(), Memory.id))
        return [FormerTurn(*row) for row in rows]


async def _make_former(
    connection: AsyncConnection, owner: Owner, going: Sequence[PlacedTurn], by: str, *, version: int, now: datetime
) -> None:
    """Delete turns that the turn `by` replaces, and keep what they said."""
    ids = [each.id for each in going]
    await drop_summaries_of(connection, owner, ids, version)
    quoting: dict[str, list[MemoryRecord]] = {id_: [] for id_ in ids}
    for memory in await memories_that_quote(connection, owner, ids):
        quoting[memory.message_id or ""].append(memory)
    named = {each.id: former_id(each) for each in going}
    rows = [_former_turn(each, quoting[each.id], named[each.id], by, version=version, now=now) for each in going]
    older = owner.update(Memory).where(Memory.message_id.in_(ids), are_former(Memory.id))
    await connection.execute(older.values(message_id=by, quote=None, changed_in=version))
    aside = owner.update(SetAside).where(SetAside.message_id.in_(ids))
    await connection.execute(aside.values(message_id=by))  # so that it goes with what stands there now
    await connection.execute(insert(Memory), [owner.columns | row for row in rows])
    for each in going:
        for memory in quoting[each.id]:
            await _end(connection, owner, memory, {"message_id": by, "superseded_by": named[each.id]}, version, now)
    await _move_context(connection, owner, named)
    vectors = owner.delete(Embedding).where(Embedding.kind == "turn", Embedding.item_id.in_(ids))
    await connection.execute(vectors)
    await connection.execute(owner.delete(Message).where(Message.id.in_(ids)))


def _former_turn(
    turn: PlacedTurn, quoting: Sequence[MemoryRecord], id_: str, by: str, *, version: int, now: datetime
) -> dict[str, Any]:
    """The row of what a turn said, with the marks of the memories that quoted it."""
    said = MemoryRecord(
        turn.text,
        speaker=turn.speaker,
        message_id=by,
        valid_from=turn.said_at,
        sensitivity="sensitive" if any(each.sensitivity == "sensitive" for each in quoting) else "ordinary",
        painful_at=max((each.painful_at for each in quoting if each.painful_at is not None), default=None),
        muted=turn.answers is not None or any(each.muted for each in quoting),
        id=turn.id,
        changed_in=version,
        created_at=turn.said_at,
        updated_at=now,
    )
    return former_row(said, version=version, now=now) | {"id": id_, "superseded_by": None}


async def _end(
    connection: AsyncConnection,
    owner: Owner,
    memory: MemoryRecord,
    belongs: Mapping[str, Any],
    version: int,
    now: datetime,
) -> None:
    """Make a memory a former text of its own, as its words are no longer said; what it ended holds again."""
    await hold_again(connection, owner, memory, version=version, now=now)
    family = owner.update(Memory).where(are_former(Memory.id, memory.id))
    await connection.execute(family.values(**belongs, quote=None, changed_in=version))
    row = {**former_row(memory, version=version, now=now), **belongs, "quote": None}
    await connection.execute(insert(Memory), [owner.columns | row])
    for table in (Embedding, ReplyContextItem):
        moved = owner.update(table).where(table.kind == "memory", table.item_id == memory.id)
        await connection.execute(moved.values(item_id=row["id"]))
    await connection.execute(owner.delete(Memory).where(Memory.id == memory.id))


async def _move_context(connection: AsyncConnection, owner: Owner, named: Mapping[str, str]) -> None:
    """The reasons of replaced replies go with their former texts; where a turn was a reason, its former text is."""
    item, reply = ReplyContextItem.item_id, ReplyContextItem.message_id
    of_turn = and_(ReplyContextItem.kind == "turn", item.in_(named))
    rows = await connection.execute(
        owner.select(ReplyContextItem, reply, ReplyContextItem.kind, item).where(or_(reply.in_(named), of_turn))
    )
    found = rows.all()
    for id_ in {row.message_id for row in found} & named.keys():
        moved = owner.update(ReplyContextItem).where(reply == id_)
        await connection.execute(moved.values(message_id=named[id_]))
    for id_ in {row.item_id for row in found if row.kind == "turn"} & named.keys():
        moved = owner.update(ReplyContextItem).where(ReplyContextItem.kind == "turn", item == id_)
        await connection.execute(moved.values(kind="memory", item_id=named[id_]))
