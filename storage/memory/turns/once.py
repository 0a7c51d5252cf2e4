"""Stores a person's message of a chat once: as a new turn, as the one that it repeats, or in the place of one it edits.

A chat's request carries what was said before. So a reply that was lost with its process is found in the next request,
and an edited message by its place. This module does not know how a client's request looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.conversations import Ingested, NewMessage, StoredConversation, look, take_in
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.tables import Memory, Message, Person
from storage.memory.turns.place import Earlier, find_place
from storage.memory.turns.replaced import PlacedTurn, put_in_place, reply_to


@dataclass(frozen=True, slots=True)
class Former:
    """Another external id that a turn may be stored by, if it was said at `since` or later."""

    external_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Carried:
    """The exchange before a message, as the request with that message has it: the person's words, and the reply."""

    asked: str
    reply: str
    speaker: str  # of the reply


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and how it may be known: by another external id, or by what stands before it in its request."""

    message: NewMessage
    former: Former | None = None
    earlier: Earlier | None = None

    @property
    def external_ids(self) -> list[str]:
        """Those that it may be stored by."""
        return [self.message.external_id, *([] if self.former is None else [self.former.external_id])]

    def as_in(self, stored: StoredConversation) -> NewMessage:
        """The message by the external id that it is stored by, if it is."""
        former = self.former
        there = None if former is None else stored.present.get(former.external_id)
        if former and there and there.said_at >= former.since and self.message.external_id not in stored.present:
            return replace(self.message, external_id=former.external_id)
        return self.message


async def ingest_once(
    engine: AsyncEngine, owner: Owner, external_id: str, said: Said, *, now: datetime, carried: Carried | None = None
) -> tuple[NewMessage, Ingested]:
    """Add a turn, unless it is there already; returns it by the external id that it is stored by.

    If the reply before it was lost, it is added as the request has it (`carried`): see `_lost_reply`. With what stands
    `earlier`, a turn in another one's place replaces that one and what follows it; with the same words it is that one.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        stored = await look(connection, owner, external_id, said.external_ids)
        message = said.as_in(stored)
        lost = None if carried is None else await _lost_reply(connection, owner, stored, message, carried)
        if lost is None:
            place = await _place(connection, owner, stored, message, said.earlier)
            if place and place[0].text == message.text:
                message = replace(message, external_id=place[0].external_id)
                stored = await look(connection, owner, external_id, [message.external_id])
            elif place:
                return message, await put_in_place(connection, owner, place, message, now=now)
        new = [message] if lost is None else [lost, message]
        return message, await take_in(connection, owner, external_id, new, version=version, now=now, stored=stored)


async def read_replaced(engine: AsyncEngine, owner: Owner, external_id: str, said: Said) -> frozenset[str]:
    """The ids of the turns that storing this message, or a reply to it, replaces as things stand."""
    async with engine.connect() as connection:
        stored = await look(connection, owner, external_id, said.external_ids)
        message = said.as_in(stored)
        if (turn := stored.present.get(message.external_id)) is not None:
            reply = await reply_to(connection, owner, stored, turn.id)
            return frozenset() if reply is None else frozenset([reply.id])
        place = await _place(connection, owner, stored, message, said.earlier)
        return frozenset(each.id for each in place if each.text != message.text)


async def _place(
    connection: AsyncConnection,
    owner: Owner,
    stored: StoredConversation,
    message: NewMessage,
    earlier: Earlier | None,
) -> Sequence[PlacedTurn]:
    """The turns that a new message replaces; none if it is known, or if that is not certain."""
    if earlier is None or message.external_id in stored.present:
        return ()
    return await find_place(connection, owner, stored, message, earlier) or ()


def lost_reply_id(answers: str) -> str:
    """The external id of a reply to the message `answers` that was lost and came with a later request."""
    return f"reply-to-{answers}"


async def _lost_reply(
    connection: AsyncConnection, owner: Owner, stored: StoredConversation, message: NewMessage, carried: Carried
) -> NewMessage | None:
    """The reply to the last turn, which is the person's and has none because its process died before it was stored.

    None if nothing was lost, or if anything was deleted or marked since that turn: then it may be missing on purpose.
    """
    is_theirs = stored.last_speaker.casefold() == message.speaker.casefold()
    if stored.last is None or not is_theirs or message.external_id in stored.present:
        return None
    rewritten = owner.select(Person, Person.rewritten).scalar_subquery()
    quoting = owner.select(Memory, Memory.id).where(Memory.message_id == stored.last.id)
    untouched = (Message.id == stored.last.id, Message.changed_in > rewritten, ~quoting.exists())
    said = (await connection.execute(owner.select(Message, Message.text).where(*untouched))).scalar_one_or_none()
    if said != carried.asked:
        return None
    external_id, answered = lost_reply_id(stored.last_external_id), stored.last
    return NewMessage(external_id, carried.speaker, carried.reply, answered.said_at, answers=answered.id)
