"""Turns not yet processed by extraction: whose are due, which come next, and marking them as read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.former_texts import are_current
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.tables import ENDED, Job, Memory, Message

MAX_TURNS = 200  # in one batch


@dataclass(frozen=True, slots=True)
class Turn:
    """The speaker, the text and the time of a turn."""

    id: str
    speaker: str
    text: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Batch:
    """Unread turns of one conversation in order, and a few turns before them."""

    before: Sequence[Turn]
    turns: Sequence[Turn]


async def find_people(engine: AsyncEngine, *, characters: int, before: datetime, limit: int) -> list[Owner]:
    """Up to `limit` people with this many unread characters, or none newer than `before`; longest wait first.

    People with an unfinished job are left out, so a job that was given up excludes them.
    """
    undone = and_(
        Job.app == Message.app, Job.end_user == Message.end_user, Job.kind == "extract", Job.state.not_in(ENDED)
    )
    is_due = or_(func.sum(func.length(Message.text)) >= characters, func.max(Message.created_at) <= before)
    query = select(Message.app, Message.end_user).where(
        Message.read_at.is_(None), ~select(Job.id).where(undone).correlate(Message).exists()
    )
    query = query.group_by(Message.app, Message.end_user).having(is_due)
    query = query.order_by(func.min(Message.created_at)).limit(limit)
    async with engine.connect() as connection:
        return [Owner(app, user) for app, user in await connection.execute(query)]


async def read_batch(engine: AsyncEngine, owner: Owner, *, characters: int, around: int) -> Batch | None:
    """The earliest unread turns of one conversation, up to about `characters`, but at least one.

    Includes `around` turns before them; None if all turns are read.
    """
    order = (Message.said_at, Message.position)
    unread = owner.select(Message, Message.conversation_id, Message.position, *_SHOWN).where(Message.read_at.is_(None))
    async with engine.connect() as connection:
        first = (await connection.execute(unread.order_by(*order).limit(1))).one_or_none()
        if first is None:
            return None
        together = unread.where(Message.conversation_id == first.conversation_id).order_by(*order).limit(MAX_TURNS)
        turns: list[Turn] = []
        left = characters
        for _, _, *shown in await connection.execute(together):
            turn = Turn(*shown)
            left -= len(turn.text)
            if turns and left < 0:
                break
            turns.append(turn)
        earlier = owner.select(Message, *_SHOWN).where(
            Message.conversation_id == first.conversation_id, tuple_(*order) < tuple_(first.said_at, first.position)
        )
        latest_first = earlier.order_by(*(each.desc() for each in order)).limit(around)
        before = [Turn(*row) for row in await connection.execute(latest_first)]
    return Batch(before[::-1], turns)


async def has_unread(engine: AsyncEngine, owner: Owner) -> bool:
    """Whether a turn of theirs is unread."""
    unread = owner.select(Message, Message.id).where(Message.read_at.is_(None)).limit(1)
    async with engine.connect() as connection:
        return (await connection.execute(unread)).first() is not None


async def find_readers(engine: AsyncEngine, since: datetime) -> list[Owner]:
    """The people of whom turns have been read since then."""
    query = select(Message.app, Message.end_user).where(Message.read_at >= since).distinct()
    async with engine.connect() as connection:
        return [Owner(app, user) for app, user in await connection.execute(query)]


async def mark_unread(engine: AsyncEngine, owner: Owner, since: datetime, *, now: datetime) -> int:
    """Mark the turns that have been read since then as unread; returns how many.

    What was made of them stays until they are read again (`memory.extraction.extractor`). Muted turns are left out.
    """
    is_marked = (Memory.muted, Memory.message_id.is_not(None), are_current(Memory.id))
    muted = owner.select(Memory, Memory.message_id).where(*is_marked)
    async with engine.begin() as connection:
        await bump(connection, owner, now=now)
        read = owner.update(Message).where(Message.read_at >= since, Message.id.not_in(muted))
        marked = await connection.execute(read.values(read_at=None).execution_options(synchronize_session=False))
        return marked.rowcount


async def mark_read(connection: AsyncConnection, owner: Owner, ids: Collection[str], *, now: datetime) -> set[str]:
    """Mark turns as read within an open change; returns those that exist and were unread."""
    unread = owner.update(Message).where(Message.id.in_(ids), Message.read_at.is_(None))
    marked = await connection.execute(unread.values(read_at=now).returning(Message.id))
    return set(marked.scalars())


_SHOWN = (Message.id, Message.speaker, Message.text, Message.said_at)
