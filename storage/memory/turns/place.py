"""Finds the turn that an edited message replaces, by what the request has before it.

It is certain only if the whole of that stands directly before one turn of the person's that has its reply, and nowhere
else. Anything less is no edit but a new turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.memory.conversations import NewMessage, StoredConversation
from storage.memory.owner import Owner
from storage.memory.tables import Message
from storage.memory.turns.replaced import PLACED, PlacedTurn

MAX_PLACES = 8  # where the last reply is looked at; said more often, it tells nothing


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a request has before its last message: each text, and whether `friend` said it; the last is a reply."""

    lines: tuple[tuple[str, bool], ...]
    friend: str


async def find_place(
    connection: AsyncConnection, owner: Owner, stored: StoredConversation, message: NewMessage, earlier: Earlier
) -> Sequence[PlacedTurn] | None:
    """The turn that `message` stands in place of and all that follow it, in order; None if that is not certain."""
    if stored.conversation_id is None or _is_next(stored, earlier):
        return None
    turns = owner.select(Message, *PLACED).where(Message.conversation_id == stored.conversation_id)
    order = (Message.said_at, Message.position)
    replies = turns.where(Message.speaker == earlier.friend, Message.text == earlier.lines[-1][0]).limit(MAX_PLACES + 1)
    ends = [PlacedTurn(*row) for row in await connection.execute(replies)]
    if len(ends) > MAX_PLACES:
        return None
    found = []
    for end in ends:
        before = turns.where(tuple_(*order) <= tuple_(end.said_at, end.position))
        latest_first = before.order_by(*(each.desc() for each in order)).limit(len(earlier.lines))
        run = [PlacedTurn(*row) for row in await connection.execute(latest_first)]
        lines = [(each.text, each.speaker == earlier.friend) for each in run[::-1]]
        if lines == list(earlier.lines):
            found.append(end)
    if len(found) != 1:
        return None
    later = turns.where(tuple_(*order) > tuple_(found[0].said_at, found[0].position)).order_by(*order)
    following = [PlacedTurn(*row) for row in await connection.execute(later)]
    if len(following) < 2 or following[0].speaker.casefold() != message.speaker.casefold():
        return None
    is_answered = following[1].answers == following[0].id
    return following if is_answered else None


def _is_next(stored: StoredConversation, earlier: Earlier) -> bool:
    """Whether the conversation ends with what the request ends with: nothing stands in the message's place.

    So it does, too, where the last reply is still being stored.
    """
    asked, reply = earlier.lines[-2][0], earlier.lines[-1][0]
    ends_so = stored.last_speaker == earlier.friend and (stored.last_answers, stored.last_text) == (asked, reply)
    return ends_so or (stored.last_speaker != earlier.friend and stored.last_text == asked)
