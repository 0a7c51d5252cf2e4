"""Conversations and their messages. Ingesting is idempotent: a message is identified by its external id.

This module knows embeddings only in one respect: if a turn gets a new neighbour, the embedding of its window is void.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import aliased

from storage.memory.owner import WHOEVER, WHOSE, Owner
from storage.memory.people import bump, names_of, note_offset, read_profile
from storage.memory.tables import Conversation, Embedding, Message

ROWS_AT_ONCE = 500  # ids in one statement
EXCHANGE = 20  # turns
FEW = 2  # turns that are looked for with their conversation, whose last turn the database finds again for each


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A turn to ingest. The offset of `said_at` tells where the person is, and is not stored with the turn.

    `answers`: the id of the stored turn that it is the reply to, if that is known.
    """

    external_id: str
    speaker: str
    text: str
    said_at: datetime
    answers: str | None = None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A turn."""

    id: str
    conversation_id: str
    external_id: str
    speaker: str
    text: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Ingested:
    """The result: the ids of all messages by external id, and which of them are new.

    `differing` are external ids that existed with other text; the stored text is kept.
    """

    conversation_id: str
    ids: dict[str, str]
    added: frozenset[str]
    differing: tuple[str, ...]
    version: int


class TurnPosition(NamedTuple):
    """The position of a turn in its conversation."""

    said_at: datetime
    position: int
    id: str


class PresentTurn(NamedTuple):
    """A turn that is stored."""

    id: str
    text: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """What is stored of a conversation: its id (None: nothing), its last turn with who said it, its highest position.

    `present` are those of the turns that were asked for, by external id. `last_answers`: the text that the last turn is
    the reply to, if it is one.
    """

    conversation_id: str | None
    last: TurnPosition | None
    top: int
    present: dict[str, PresentTurn]
    last_speaker: str = ""
    last_external_id: str = ""
    last_text: str = ""
    last_answers: str | None = None


async def ingest(
    engine: AsyncEngine, owner: Owner, external_id: str, messages: Sequence[NewMessage], *, now: datetime
) -> Ingested:
    """Add `messages` to the conversation with this `external_id`; existing messages are kept."""
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        return await take_in(connection, owner, external_id, messages, version=version, now=now)


async def take_in(
    connection: AsyncConnection,
    owner: Owner,
    external_id: str,
    messages: Sequence[NewMessage],
    *,
    version: int,
    now: datetime,
    read_at: datetime | None = None,
    stored: StoredConversation | None = None,
) -> Ingested:
    """`ingest` within an open change; `read_at`: memories of these messages come from elsewhere.

    `stored` is what `look` found for these messages, if the caller has looked.
    """
    by_external_id = {each.external_id: each for each in reversed(messages)}  # of two with one id, the first
    stored = stored or await look(connection, owner, external_id, list(by_external_id))
    conversation_id = stored.conversation_id or await _begin(connection, owner, external_id, now)
    present = {name: each for name, each in stored.present.items() if name in by_external_id}
    ids = {external: each.id for external, each in present.items()}
    fresh = [each for external, each in reversed(by_external_id.items()) if external not in present]
    if fresh:
        rows = await _placed(connection, owner, conversation_id, stored, fresh, version=version, now=now)
        await connection.execute(_ADD, [row | {"read_at": read_at, "summarised_at": read_at} for row in rows])
        ids |= {row["external_id"]: row["id"] for row in rows}
        await note_offset(connection, owner, max(each.said_at for each in fresh))
    differing = tuple(name for name, each in present.items() if by_external_id[name].text != each.text)
    return Ingested(conversation_id, ids, frozenset(each.external_id for each in fresh), differing, version)


async def look(
    connection: AsyncConnection, owner: Owner, external_id: str, external_ids: Sequence[str]
) -> StoredConversation:
    """What is stored of the conversation `external_id`, and which of these turns are."""
    params = owner.columns | {"external_id": external_id}
    are_few = len(external_ids) <= FEW
    rows = (await connection.execute(_STORED, params | {"external_ids": external_ids if are_few else []})).all()
    if not rows:
        return StoredConversation(None, None, 0, {})
    row = rows[0]
    present = {
        each.external_id: PresentTurn(each.present_id, each.text, each.present_said_at)
        for each in rows
        if each.present_id is not None
    }
    of_conversation = owner.columns | {"conversation_id": row.conversation_id}
    for first in () if are_few else range(0, len(external_ids), ROWS_AT_ONCE):
        some = external_ids[first : first + ROWS_AT_ONCE]
        found = await connection.execute(_PRESENT, of_conversation | {"external_ids": some})
        present |= {external: PresentTurn(*turn) for external, *turn in found}
    last = None if row.last_id is None else TurnPosition(row.said_at, row.position, row.last_id)
    of_last = (row.last_speaker or "", row.last_external_id or "", row.last_text or "", row.last_answers)
    return StoredConversation(row.conversation_id, last, row.top or 0, present, *of_last)


async def find_messages(engine: AsyncEngine, owner: Owner, ids: Sequence[str]) -> dict[str, MessageRecord]:
    """The owner's messages among `ids`."""
    async with engine.connect() as connection:
        rows = await connection.execute(_NAMED, owner.columns | {"ids": ids})
        return {row.id: MessageRecord(*row) for row in rows}


async def last_exchange(
    engine: AsyncEngine, owner: Owner, external_id: str, *, speaker: str, before: str | None
) -> list[MessageRecord]:
    """The last turn of `speaker` in a conversation (before the turn `before`, if given) and its reply.

    Empty if there is none among the last EXCHANGE turns.
    """
    named = owner.select(Conversation, Conversation.id).where(Conversation.external_id == external_id)
    turns = owner.select(Message, *_SHOWN).where(Message.conversation_id.in_(named))
    if before is not None:
        there = owner.select(Message, Message.said_at, Message.position).where(Message.id == before)
        turns = turns.where(tuple_(Message.said_at, Message.position) < there.scalar_subquery())
    turns = turns.order_by(Message.said_at.desc(), Message.position.desc()).limit(EXCHANGE)
    async with engine.connect() as connection:
        found = [MessageRecord(*row) for row in await connection.execute(turns)]
    first = next((at for at, each in enumerate(found) if each.speaker.casefold() == speaker.casefold()), None)
    return [] if first is None else found[first::-1]


_SHOWN = (
    Message.id,
    Message.conversation_id,
    Message.external_id,
    Message.speaker,
    Message.text,
    Message.said_at,
)
_CALLED = Conversation.external_id == bindparam("external_id")
_CONVERSATION = WHOEVER.select(Conversation, Conversation.id).where(_CALLED)
_WITHIN = Message.conversation_id == bindparam("conversation_id")
_PRESENT = WHOEVER.select(Message, Message.external_id, Message.id, Message.text, Message.said_at).where(
    _WITHIN, Message.external_id.in_(bindparam("external_ids", expanding=True))
)
_PLACES = WHOEVER.select(Message, Message.said_at, Message.position, Message.id).where(_WITHIN)
_NAMED = WHOEVER.select(Message, *_SHOWN).where(Message.id.in_(bindparam("ids", expanding=True)))


def _stored() -> Select[Any]:
    """A conversation with its last turn and highest position: a row for each of the turns that are present."""
    last, of_last, of_top, present, answered = (aliased(Message) for _ in range(5))

    def within(message: type[Message]) -> ColumnElement[bool]:
        same = and_(message.app == Conversation.app, message.end_user == Conversation.end_user)
        return and_(same, message.conversation_id == Conversation.id)

    latest = select(of_last.id).where(within(of_last)).order_by(of_last.said_at.desc(), of_last.position.desc())
    top = select(of_top.position).where(within(of_top)).order_by(of_top.position.desc()).limit(1)
    is_asked = present.external_id.in_(bindparam("external_ids", expanding=True))
    columns = (
        Conversation.id.label("conversation_id"),
        top.correlate(Conversation).scalar_subquery().label("top"),
        last.said_at,
        last.position,
        last.id.label("last_id"),
        last.speaker.label("last_speaker"),
        last.external_id.label("last_external_id"),
        last.text.label("last_text"),
        answered.text.label("last_answers"),
        present.external_id,
        present.id.label("present_id"),
        present.text,
        present.said_at.label("present_said_at"),
    )
    is_last = last.id == latest.correlate(Conversation).limit(1).scalar_subquery()
    query = WHOEVER.select(Conversation, *columns).outerjoin(last, and_(within(last), is_last))
    query = query.outerjoin(answered, and_(within(answered), answered.id == last.answers))
    return query.outerjoin(present, and_(within(present), is_asked)).where(_CALLED)


_STORED = _stored()
_ADD, _ADD_CONVERSATION = insert(Message), insert(Conversation)
_TURNS = Message.id.in_(bindparam("ids", expanding=True))
_CHANGED = WHOSE.update(Message).where(_TURNS).values(changed_in=bindparam("version"))
_VOID = (
    WHOSE.update(Embedding)
    .where(Embedding.kind == "turn", Embedding.item_id.in_(bindparam("ids", expanding=True)))
    .values(window=None)
)


async def conversation_id_of(connection: AsyncConnection, owner: Owner, external_id: str, now: datetime) -> str:
    """The id of a conversation, created if needed, within an open change."""
    params = owner.columns | {"external_id": external_id}
    found = (await connection.execute(_CONVERSATION, params)).scalar_one_or_none()
    return await _begin(connection, owner, external_id, now) if found is None else str(found)


async def _begin(connection: AsyncConnection, owner: Owner, external_id: str, now: datetime) -> str:
    made = secrets.token_hex(8)
    row = owner.columns | {"id": made, "external_id": external_id, "created_at": now}
    await connection.execute(_ADD_CONVERSATION, row)
    return made


async def _placed(
    connection: AsyncConnection,
    owner: Owner,
    conversation_id: str,
    stored: StoredConversation,
    fresh: Sequence[NewMessage],
    *,
    version: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """The rows of new turns in their positions; the windows of neighbouring turns are marked as changed."""
    params = owner.columns | {"conversation_id": conversation_id}
    last, first = stored.last, stored.top + 1
    is_appended = last is None or last.said_at <= min(each.said_at for each in fresh)
    before = [last] if is_appended and last else await connection.execute(_PLACES, params) if last else []
    there = [TurnPosition(*row) for row in before]
    in_order = sorted(fresh, key=lambda each: each.said_at)
    new = [TurnPosition(each.said_at, first + number, secrets.token_hex(8)) for number, each in enumerate(in_order)]
    await void_windows(connection, owner, beside(there, new), version)
    if not is_appended:
        await bump(connection, owner, now=now, rewrites=True)
    return [
        message_row(owner, conversation_id, each, position, version=version, now=now)
        for position, each in zip(new, in_order, strict=True)
    ]


def message_row(
    owner: Owner, conversation_id: str, turn: NewMessage, position: TurnPosition, *, version: int, now: datetime
) -> dict[str, Any]:
    """The row of a new turn in its position, which has its id and its time."""
    return {
        **owner.columns,
        **position._asdict(),
        "conversation_id": conversation_id,
        "external_id": turn.external_id,
        "speaker": turn.speaker,
        "text": turn.text,
        "answers": turn.answers,
        "changed_in": version,
        "created_at": now,
    }


def beside(staying: Sequence[TurnPosition], moving: Sequence[TurnPosition]) -> list[str]:
    """The ids in `staying` that are neighbours of an id in `moving` (added or removed)."""
    moved = {position.id for position in moving}
    pairs = pairwise(position.id for position in sorted([*staying, *moving]))
    return list({id_ for pair in pairs if not moved.isdisjoint(pair) for id_ in pair if id_ not in moved})


async def void_windows(connection: AsyncConnection, owner: Owner, ids: Sequence[str], version: int) -> None:
    """Mark the window embeddings of these turns for renewal."""
    for first in range(0, len(ids), ROWS_AT_ONCE):
        some = ids[first : first + ROWS_AT_ONCE]
        await connection.execute(_CHANGED, owner.named | {"ids": some, "version": version})
        await connection.execute(_VOID, owner.named | {"ids": some})


async def own_words(engine: AsyncEngine, owner: Owner, *, limit: int) -> list[str]:
    """The person's own texts, the latest first."""
    names = names_of(owner, (await read_profile(engine, owner)).name)
    texts = owner.select(Message, Message.text).where(func.lower(Message.speaker).in_(names))
    async with engine.connect() as connection:
        return list((await connection.execute(texts.order_by(Message.said_at.desc()).limit(limit))).scalars())
