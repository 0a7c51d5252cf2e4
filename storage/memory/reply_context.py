"""The recalled items that a reply was based on, stored with it. It does not know why an item was chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, or_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.conversations import MessageRecord, NewMessage, find_messages, take_in
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.tables import Conversation, ItemKind, Message
from storage.memory.tables import ReplyContextItem as GivenRow


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

    Returns None and stores nothing if that message no longer exists: it was deleted meanwhile, and a reply would reveal
    it.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        if not await _is_there(connection, owner, conversation, answers):
            await connection.rollback()
            return None
        taken = await take_in(connection, owner, conversation, [reply], version=version, now=now)
        if items and reply.external_id in taken.added:
            of_reply = {**owner.columns, "message_id": taken.ids[reply.external_id]}
            await connection.execute(insert(GivenRow), [of_reply | asdict(each) for each in items])
        return version


async def find_reply(engine: AsyncEngine, owner: Owner, id_: str) -> MessageRecord | None:
    """The message with this id or external id; if there are several, the latest."""
    named = owner.select(Message, Message.id).where(or_(Message.id == id_, Message.external_id == id_))
    async with engine.connect() as connection:
        query = named.order_by(Message.said_at.desc(), Message.position.desc()).limit(1)
        found = (await connection.execute(query)).scalar_one_or_none()
    return None if found is None else (await find_messages(engine, owner, [found])).get(found)


async def list_given(engine: AsyncEngine, owner: Owner, message_id: str) -> list[ContextItem]:
    """The context of the reply in order, without items deleted since."""
    columns = [getattr(GivenRow, field) for field in ContextItem.__dataclass_fields__]
    query = owner.select(GivenRow, *columns).where(GivenRow.message_id == message_id).order_by(GivenRow.rank)
    async with engine.connect() as connection:
        return [ContextItem(*row) for row in await connection.execute(query)]


async def _is_there(connection: AsyncConnection, owner: Owner, conversation: str, external_id: str) -> bool:
    of_conversation = owner.select(Conversation, Conversation.id).where(Conversation.external_id == conversation)
    query = owner.select(Message, func.count()).where(
        Message.external_id == external_id, Message.conversation_id.in_(of_conversation)
    )
    return bool((await connection.execute(query)).scalar_one())
