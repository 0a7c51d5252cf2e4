"""The recalled items that a reply was based on, stored with it. It does not know why an item was chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, or_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.conversations import (
    MessageRecord,
    NewMessage,
    StoredConversation,
    find_messages,
    look,
    take_in,
)
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.tables import Conversation, ItemKind, Message
from storage.memory.tables import ReplyContextItem as ContextRow
from storage.memory.turns.once import lost_reply_id
from storage.memory.turns.replaced import PlacedTurn, former_id, put_in_place, reply_to

MAX_NAMED = 20  # conversations that the error for an ambiguous id lists


class SeveralMessages(Exception):
    """An external id occurs in several conversations, whose names are the only argument."""


@dataclass(frozen=True, slots=True)
class ContextItem:
    """An item: its rank in the reply's context (from 1), score, values of each ranker, factors."""

    kind: ItemKind
    item_id: str
    rank: int
    score: float
    said: Mapping[str, Any]
    factors: Mapping[str, float]


async def store_reply(
    engine: AsyncEngine,
    owner: Owner,
    conversation: str,
    reply: NewMessage,
    items: Sequence[ContextItem],
    *,
    answers: str,
    now: datetime,
) -> int | None:
    """Store a reply to the message `answers` (an external id) with its context; returns the new version.

    It takes the place of an earlier reply to the same message. Returns None and stores nothing if that message no
    longer exists: it was deleted or replaced meanwhile, and a reply would reveal it.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        stored = await look(connection, owner, conversation, [reply.external_id, answers])
        if answers not in stored.present:
            await connection.rollback()
            return None
        id_ = await _came_before(connection, owner, stored, reply, answers)
        if id_ is None and reply.external_id not in stored.present:
            answered, reply = stored.present[answers].id, replace(reply, answers=stored.present[answers].id)
            before = None if _is_last(stored, answered) else await reply_to(connection, owner, stored, answered)
            if before is None:
                stored_now = await take_in(
                    connection, owner, conversation, [reply], version=version, now=now, stored=stored
                )
            else:
                stored_now = await put_in_place(connection, owner, [before], reply, now=now)
                items = [_without(before, each) for each in items]
            id_ = stored_now.ids[reply.external_id]
        if items and id_ is not None:
            of_reply = {**owner.columns, "message_id": id_}
            await connection.execute(_ADD, [of_reply | asdict(each) for each in items])
        return version


async def _came_before(
    connection: AsyncConnection, owner: Owner, stored: StoredConversation, reply: NewMessage, answers: str
) -> str | None:
    """The id of this reply if the person's next request was faster and brought it; it gets its own external id."""
    if _is_last(stored, stored.present[answers].id):
        return None
    same = (
        Message.conversation_id == stored.conversation_id,
        Message.external_id == lost_reply_id(answers),
        Message.text == reply.text,
    )
    row = (await connection.execute(owner.select(Message, Message.id).where(*same))).one_or_none()
    if row is None:
        return None
    await connection.execute(owner.update(Message).where(Message.id == row.id).values(external_id=reply.external_id))
    return str(row.id)


def _without(turn: PlacedTurn, item: ContextItem) -> ContextItem:
    """The item as it is once this turn was replaced."""
    is_turn = (item.kind, item.item_id) == ("turn", turn.id)
    return replace(item, kind="memory", item_id=former_id(turn)) if is_turn else item


def _is_last(stored: StoredConversation, turn: str) -> bool:
    """Whether nothing follows a turn, so that it has no reply."""
    return stored.last is None or stored.last.id == turn


async def find_reply(
    engine: AsyncEngine, owner: Owner, id_: str, *, conversation: str | None = None
) -> MessageRecord | None:
    """The message with this id, or with this external id, in `conversation` if it is given.

    Raises SeveralMessages if the external id stands in several conversations.
    """
    named = owner.select(Message, Message.id, Message.conversation_id).where(
        or_(Message.id == id_, Message.external_id == id_)
    )
    if conversation is not None:
        of_name = owner.select(Conversation, Conversation.id).where(Conversation.external_id == conversation)
        named = named.where(Message.conversation_id.in_(of_name))
    async with engine.connect() as connection:
        rows = (await connection.execute(named.limit(MAX_NAMED))).all()
        exact = [row for row in rows if row.id == id_] or rows
        if len(exact) > 1:
            ids = [row.conversation_id for row in exact]
            names = owner.select(Conversation, Conversation.external_id).where(Conversation.id.in_(ids))
            raise SeveralMessages(tuple(sorted((await connection.execute(names)).scalars())))
    return None if not exact else (await find_messages(engine, owner, [exact[0].id])).get(exact[0].id)


async def list_context(engine: AsyncEngine, owner: Owner, message_id: str) -> list[ContextItem]:
    """The context of the reply in order, without items deleted since."""
    columns = [getattr(ContextRow, field) for field in ContextItem.__dataclass_fields__]
    query = owner.select(ContextRow, *columns).where(ContextRow.message_id == message_id).order_by(ContextRow.rank)
    async with engine.connect() as connection:
        return [ContextItem(*row) for row in await connection.execute(query)]


_ADD = insert(ContextRow)
