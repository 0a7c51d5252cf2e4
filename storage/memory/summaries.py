"""Summaries of conversations: which turns are due, storing one, its sources, and dropping those that no longer hold.

A summary is a memory of kind `summary` with the turns that it was made from. If one of the turns is deleted, so is the
summary, and its other turns are due again: a new summary is made without the deleted turn. If the person deletes the
summary itself, its turns stay, and no other summary is made of them. This module does not write summaries.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.former_texts import are_current, former_texts_of
from storage.memory.owner import Owner
from storage.memory.tables import (
    ENDED,
    Embedding,
    Job,
    Memory,
    MemorySource,
    Message,
    Person,
    ReplyContextItem,
)
from storage.memory.unread_turns import Turn

KIND = "summarise"  # of the job


@dataclass(frozen=True, slots=True)
class SummaryRules:
    """When turns of a conversation are due, and how many make a summary.

    Attributes:
        turns: the turns of one summary; they are due when `newer` more follow.
        newer: the latest turns, which are not summarised yet.
        idle_turns: the minimum number of turns that are due after a silence.
        idle_s: the length of the silence.

    """

    turns: int = 40
    newer: int = 8
    idle_turns: int = 16
    idle_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Segment:
    """Turns of one conversation in order; without the muted ones, which are in no summary.

    `painful_at`: the latest mark of any of them. `is_sensitive`: a memory that quotes one of them is.
    """

    turns: Sequence[Turn] = ()
    muted: Sequence[str] = ()
    painful_at: datetime | None = None
    is_sensitive: bool = False
    conversation: str = ""
    ids: frozenset[str] = field(default=frozenset())


async def find_people(engine: AsyncEngine, rules: SummaryRules, *, before: datetime, limit: int) -> list[Owner]:
    """Up to `limit` people with turns that are due, longest wait first; `before`: a silence began by then.

    People with an unfinished job are left out.
    """
    undone = and_(Job.app == Message.app, Job.end_user == Message.end_user, Job.kind == KIND, Job.state.not_in(ENDED))
    query = select(Message.app, Message.end_user).where(
        Message.summarised_at.is_(None), ~select(Job.id).where(undone).correlate(Message).exists()
    )
    query = query.group_by(Message.app, Message.end_user, Message.conversation_id).having(_is_due(rules, before))
    query = query.order_by(func.min(Message.created_at)).limit(limit)
    async with engine.connect() as connection:
        rows = await connection.execute(query)
        return list(dict.fromkeys(Owner(app, user) for app, user in rows))


async def read_segment(engine: AsyncEngine, owner: Owner, rules: SummaryRules, *, before: datetime) -> Segment | None:
    """The earliest turns that are due, of one conversation; None if none are."""
    unsummarised = owner.select(Message, Message.conversation_id).where(Message.summarised_at.is_(None))
    due = unsummarised.group_by(Message.conversation_id).having(_is_due(rules, before))
    async with engine.connect() as connection:
        conversation = (await connection.execute(due.order_by(func.min(Message.said_at)).limit(1))).scalar_one_or_none()
        if conversation is None:
            return None
        columns = (Message.id, Message.speaker, Message.text, Message.said_at)
        query = owner.select(Message, *columns).where(
            Message.conversation_id == conversation, Message.summarised_at.is_(None)
        )
        query = query.order_by(Message.said_at, Message.position).limit(rules.turns)
        turns = [Turn(*row) for row in await connection.execute(query)]
        ids = frozenset(turn.id for turn in turns)
        marks = owner.select(Memory, Memory.message_id, Memory.muted, Memory.painful_at, Memory.sensitivity)
        quoting = (await connection.execute(marks.where(Memory.message_id.in_(ids), are_current(Memory.id)))).all()
    muted = [row.message_id for row in quoting if row.muted]
    return Segment(
        turns=[turn for turn in turns if turn.id not in muted],
        muted=muted,
        painful_at=max((row.painful_at for row in quoting if row.painful_at is not None), default=None),
        is_sensitive=any(row.sensitivity == "sensitive" for row in quoting),
        conversation=conversation,
        ids=ids,
    )


async def mark_summarised(connection: AsyncConnection, owner: Owner, segment: Segment, *, now: datetime) -> bool:
    """Mark the turns of a segment, within an open change; False if one is gone, marked, or newly muted.

    Then nothing of it may be stored, and all its turns are due again.
    """
    waiting = owner.update(Message).where(Message.id.in_(segment.ids), Message.summarised_at.is_(None))
    marked = (await connection.execute(waiting.values(summarised_at=now))).rowcount
    marked_so = (Memory.message_id.in_(segment.ids), Memory.muted, are_current(Memory.id))
    muted = owner.select(Memory, Memory.message_id).where(*marked_so)
    muted_now = set((await connection.execute(muted)).scalars())
    if marked == len(segment.ids) and muted_now == set(segment.muted):
        return True
    again = owner.update(Message).where(Message.id.in_(segment.ids), Message.summarised_at == now)
    await connection.execute(again.values(summarised_at=None))
    return False


async def put_sources(connection: AsyncConnection, owner: Owner, sources: Mapping[str, Sequence[str]]) -> None:
    """Store the turns of each memory, within an open change."""
    rows = [
        {**owner.columns, "memory_id": memory, "message_id": turn}
        for memory, turns in sources.items()
        for turn in dict.fromkeys(turns)
    ]
    if rows:
        await connection.execute(insert(MemorySource), rows)


async def sources_of(engine: AsyncEngine, owner: Owner, memories: Collection[str]) -> dict[str, list[str]]:
    """The turns of those of these memories that are summaries, in order; an id for each."""
    async with engine.connect() as connection:
        return await read_sources(connection, owner, memories)


async def read_sources(
    connection: AsyncConnection, owner: Owner, memories: Collection[str] | None = None
) -> dict[str, list[str]]:
    """`sources_of` within an open connection; None: of all."""
    query = owner.select(MemorySource, MemorySource.memory_id, MemorySource.message_id)
    same = and_(
        Message.app == MemorySource.app,
        Message.end_user == MemorySource.end_user,
        Message.id == MemorySource.message_id,
    )
    query = query.join(Message, same).order_by(Message.said_at, Message.position)
    if memories is not None:
        query = query.where(MemorySource.memory_id.in_(memories))
    found: dict[str, list[str]] = {}
    for memory, message in await connection.execute(query):
        found.setdefault(memory, []).append(message)
    return found


def made_of(owner: Owner, turns: Select[Any] | Collection[str]) -> Select[Any]:
    """The ids of the summaries that have one of these turns as a source."""
    return owner.select(MemorySource, MemorySource.memory_id).where(MemorySource.message_id.in_(turns))


async def drop_summaries_of(
    connection: AsyncConnection, owner: Owner, turns: Select[Any] | Collection[str], version: int
) -> list[str]:
    """Delete the summaries made from these turns, within an open change; all their turns are due again.

    Returns the ids. Readers of the change feed must read everything again.
    """
    gone = list((await connection.execute(made_of(owner, turns).distinct())).scalars())
    if not gone:
        return []
    gone += await former_texts_of(connection, owner, gone)
    sources = owner.select(MemorySource, MemorySource.message_id).where(MemorySource.memory_id.in_(gone))
    again = owner.update(Message).where(Message.id.in_(sources))
    await connection.execute(again.values(summarised_at=None).execution_options(synchronize_session=False))
    await drop_sources(connection, owner, gone)
    for table in (Embedding, ReplyContextItem):
        await connection.execute(owner.delete(table).where(table.kind == "memory", table.item_id.in_(gone)))
    superseded = owner.update(Memory).where(Memory.superseded_by.in_(gone))
    await connection.execute(superseded.values(superseded_by=None, changed_in=version))
    await connection.execute(owner.delete(Memory).where(Memory.id.in_(gone)))
    await connection.execute(owner.update(Person).values(rewritten=version))
    return gone


async def drop_sources(connection: AsyncConnection, owner: Owner, memories: Select[Any] | Collection[str]) -> None:
    """Delete the references of these memories to their turns, within an open change that deletes the memories."""
    await connection.execute(owner.delete(MemorySource).where(MemorySource.memory_id.in_(memories)))


def _is_due(rules: SummaryRules, before: datetime) -> ColumnElement[bool]:
    count = func.count()
    is_idle = and_(count >= rules.idle_turns, func.max(Message.created_at) <= before)
    return or_(count >= rules.turns + rules.newer, is_idle)
