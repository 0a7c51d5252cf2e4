"""Lists of a person's conversations and messages, in pages."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.conversations import MessageRecord
from storage.memory.owner import Owner
from storage.memory.tables import Conversation, Message

ROWS_AT_ONCE = 200


class NoSuchPage(Exception):
    """The last item of the previous page, which is the only argument, does not exist (any more)."""


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """A conversation with the number of its messages, and the times of the first and the last."""

    id: str
    external_id: str
    created_at: datetime
    messages: int
    first_said_at: datetime | None
    last_said_at: datetime | None


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages to list; each field that is not None narrows the list.

    `conversation` is the application's name of it; `has_text` is asked about each message's text.
    """

    conversation: str | None = None
    speaker: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    has_text: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message, and the name of its conversation."""

    message: MessageRecord
    conversation: str


async def list_conversations(
    engine: AsyncEngine, owner: Owner, *, limit: int, after: str | None = None
) -> list[ConversationRecord]:
    """At most `limit` conversations, last begun first; with `after` (an external id), those that follow.

    Raises NoSuchPage.
    """
    query = owner.select(Conversation, Conversation.id, Conversation.external_id, Conversation.created_at)
    query = query.order_by(Conversation.created_at.desc(), Conversation.id.desc()).limit(limit)
    async with engine.connect() as connection:
        if after is not None:
            named = owner.select(Conversation, Conversation.created_at, Conversation.id)
            last = (await connection.execute(named.where(Conversation.external_id == after))).one_or_none()
            if last is None:
                raise NoSuchPage(after)
            same = and_(Conversation.created_at == last.created_at, Conversation.id < last.id)
            query = query.where(or_(Conversation.created_at < last.created_at, same))
        found = (await connection.execute(query)).all()
        counts = owner.select(
            Message,
            Message.conversation_id,
            func.count(),
            func.min(Message.said_at, type_=Message.said_at.type),
            func.max(Message.said_at, type_=Message.said_at.type),
        ).where(Message.conversation_id.in_([row.id for row in found]))
        rows = await connection.execute(counts.group_by(Message.conversation_id))
        by_id: dict[str, Sequence[Any]] = {row[0]: row[1:] for row in rows}
    return [ConversationRecord(*row, *by_id.get(row.id, (0, None, None))) for row in found]


async def list_messages(
    engine: AsyncEngine, owner: Owner, filters: MessageFilter, *, limit: int, after: str | None = None
) -> list[ListedMessage]:
    """At most `limit` messages, last said first; with `after` (an id), those that follow that message.

    Raises NoSuchPage.
    """
    query = _messages(owner, filters)
    async with engine.connect() as connection:
        if after is not None:
            place = owner.select(Message, Message.said_at, Message.position, Message.id).where(Message.id == after)
            last = (await connection.execute(place)).one_or_none()
            if last is None:
                raise NoSuchPage(after)
            query = query.where(_is_before(last))
        if filters.has_text is None:
            query = query.limit(limit)
        found: list[ListedMessage] = []
        async for *message, conversation in _rows(connection, query):
            record = MessageRecord(*message)
            if filters.has_text is None or filters.has_text(record.text):
                found.append(ListedMessage(record, conversation))
            if len(found) == limit:
                break
    return found


def _messages(owner: Owner, filters: MessageFilter) -> Select[Any]:
    columns = [getattr(Message, name) for name in MessageRecord.__dataclass_fields__]
    same = and_(
        Conversation.app == Message.app,
        Conversation.end_user == Message.end_user,
        Conversation.id == Message.conversation_id,
    )
    query = owner.select(Message, *columns, Conversation.external_id).join(Conversation, same)
    if filters.conversation is not None:
        query = query.where(Conversation.external_id == filters.conversation)
    if filters.speaker is not None:
        query = query.where(Message.speaker == filters.speaker)
    if filters.since is not None:
        query = query.where(Message.said_at >= filters.since)
    if filters.until is not None:
        query = query.where(Message.said_at < filters.until)
    return query.order_by(Message.said_at.desc(), Message.position.desc(), Message.id.desc())


def _is_before(last: Any) -> Any:
    same_position = and_(Message.position == last.position, Message.id < last.id)
    same_time = and_(Message.said_at == last.said_at, or_(Message.position < last.position, same_position))
    return or_(Message.said_at < last.said_at, same_time)


async def _rows(connection: AsyncConnection, query: Select[Any]) -> AsyncIterator[Any]:
    async for portion in (await connection.stream(query)).partitions(ROWS_AT_ONCE):
        for row in portion:
            yield row
