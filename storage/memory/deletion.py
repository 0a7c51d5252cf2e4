"""Deletes turns and memories, and counts what remains of them.

A turn is deleted together with the memories that quote it, and the summaries that it is in. Windows of neighbouring
turns are marked as changed, and a memory that a deleted one superseded is no longer superseded. Vectors and reply
contexts are deleted too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.agents.states import delete_of_conversation
from storage.erasure.log import Erased, ErasureLog
from storage.memory.conversations import ROWS_AT_ONCE, TurnPosition, beside, void_windows
from storage.memory.former_texts import are_former, are_of_former, former_texts_of, turns_of
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.set_aside import Aside, of_items, set_aside, wipe
from storage.memory.summaries import drop_sources, drop_summaries_of
from storage.memory.tables import (
    Conversation,
    Embedding,
    Memory,
    MemorySource,
    Message,
    Owned,
    ReplyContextItem,
    SetAside,
)


@dataclass(frozen=True, slots=True)
class Touched:
    """The ids of rows that existed and were changed or deleted; `drawn` memories were made from one of the turns.

    `wiped` counts rows that had been set aside and are now deleted permanently.
    """

    turns: tuple[str, ...] = ()
    memories: tuple[str, ...] = ()
    drawn: frozenset[str] = frozenset()
    wiped: int = 0

    def with_(self, other: "Touched") -> "Touched":
        """Both together."""
        return Touched(
            self.turns + other.turns,
            self.memories + other.memories,
            self.drawn | other.drawn,
            self.wiped + other.wiped,
        )


async def delete_conversation(
    engine: AsyncEngine, owner: Owner, external_id: str, *, now: datetime, log: ErasureLog | None = None
) -> Touched | None:
    """Delete a conversation: messages, memories that quote them, summaries, rows set aside, documents of agents.

    None if there is no such conversation. The result's turns are those that were set aside as well.
    """
    async with engine.begin() as connection:
        await delete_of_conversation(connection, owner, external_id)
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now, rewrites=True)
        conversation = owner.select(Conversation, Conversation.id).where(Conversation.external_id == external_id)
        found = (await connection.execute(conversation)).scalar_one_or_none()
        aside = owner.select(SetAside, SetAside.message_id).where(SetAside.conversation == external_id)
        turns_aside = list((await connection.execute(aside)).scalars())
        if found is None and not turns_aside:
            await connection.rollback()
            return None
        turns = owner.select(Message, Message.id).where(Message.conversation_id == found)
        ids = await _ids(connection, turns)
        quoted = await _ids(connection, _quoted_aside(owner, turns_aside))
        quoted += await _ids(connection, _quoted_aside(owner, turns))
        wiped = await wipe(connection, owner, SetAside.message_id.in_(turns_aside))
        wiped += await wipe(connection, owner, SetAside.message_id.in_(turns))
        summaries = await drop_summaries_of(connection, owner, turns, version)
        quoting = Memory.message_id.in_(turns)
        quoted += await _ids(connection, owner.select(Memory, Memory.id).where(quoting))
        former = await former_texts_of(connection, owner, quoted)
        wiped += await wipe(connection, owner, of_items([], former))
        drawn = owner.select(Memory, Memory.id).where(or_(quoting, Memory.id.in_(former)))
        memories = {*await _ids(connection, drawn), *summaries}
        await _delete(connection, owner, turns, drawn, version)
        await connection.execute(owner.delete(Conversation).where(Conversation.id == found))
        if log is not None:
            await log.note(connection, [Erased.item("conversation", owner, external_id)])
    return Touched((*ids, *turns_aside), tuple(memories), frozenset(memories), wiped)


async def delete_items(
    engine: AsyncEngine,
    owner: Owner,
    *,
    turns: Sequence[str],
    memories: Sequence[str],
    now: datetime,
    aside: Aside | None = None,
    log: ErasureLog | None = None,
) -> Touched:
    """Delete these turns and memories (a few hundred at most); missing ones are left out of the result.

    A conversation without turns is deleted too. With `aside`, everything but summaries is set aside and can be
    restored; otherwise the deletion is recorded in `log`.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now, rewrites=True)
        named = owner.select(Message, Message.id, Message.conversation_id).where(Message.id.in_(turns))
        going = {row.id: row.conversation_id for row in await connection.execute(named)}
        summaries = await drop_summaries_of(connection, owner, list(going), version)
        replies = owner.select(Message, Message.id).where(
            Message.conversation_id.in_(set(going.values())), Message.answers.in_(list(going))
        )
        answers = await _ids(connection, replies) if going else []
        of_answers = and_(are_former(Memory.id), Memory.message_id.in_(answers))  # they may repeat what they answered
        quoting = or_(Memory.message_id.in_(list(going)), Memory.id.in_(memories), of_answers)
        quoted = await _ids(connection, owner.select(Memory, Memory.id).where(quoting))
        quoted += await _ids(connection, _quoted_aside(owner, turns))
        former = await former_texts_of(connection, owner, {*quoted, *memories})
        former += await _ids(connection, owner.select(Memory, Memory.id).where(are_of_former(memories)))
        memories = [*memories, *former]
        quoting = or_(quoting, Memory.id.in_(former))
        sources = owner.select(Memory, Memory.id, Memory.message_id, Memory.kind).where(quoting)
        found = (await connection.execute(sources)).all()
        remembered = {row.id: row.message_id for row in found}
        wiped = 0
        all_memories = {*memories, *remembered, *summaries}
        if aside is None:
            wiped = await wipe(connection, owner, of_items(turns, [*memories, *remembered]))
            if log is not None and (going or remembered or wiped):
                all_turns = {*turns, *going, *turns_of(all_memories)}
                await log.note(connection, [Erased.item("turn", owner, each) for each in all_turns])
                await log.note(connection, [Erased.item("memory", owner, each) for each in all_memories])
        if not going and not remembered:
            if not wiped:
                await connection.rollback()
            return Touched(wiped=wiped)
        if aside is not None:
            kept = [row.id for row in found if row.kind != "summary"]
            await set_aside(connection, owner, aside, turns=going, memories=kept, now=now)
        for conversation in set(going.values()):
            await _renew_neighbours(connection, owner, conversation, set(going), version)
        await _delete(connection, owner, list(going), owner.select(Memory, Memory.id).where(quoting), version)
        touched = set(going.values())
        left = owner.select(Message, Message.conversation_id).where(Message.conversation_id.in_(touched))
        empty = and_(Conversation.id.in_(touched), Conversation.id.not_in(left))
        await connection.execute(owner.delete(Conversation).where(empty))
    of_turns = {*going, *answers}
    drawn = frozenset([*(id_ for id_, source in remembered.items() if source in of_turns), *summaries])
    return Touched(tuple(going), tuple({*remembered, *summaries}), drawn, wiped)


async def count_conversation(engine: AsyncEngine, owner: Owner, external_id: str, deleted: Touched) -> dict[str, int]:
    """The number of rows per table that concern a conversation or what was deleted with it."""
    named = owner.select(Conversation, func.count()).where(Conversation.external_id == external_id)
    async with engine.connect() as connection:
        conversations = int((await connection.execute(named)).scalar_one())
    items = await count_items(engine, owner, turns=deleted.turns, memories=deleted.memories)
    return {"conversations": conversations} | items


async def count_items(
    engine: AsyncEngine, owner: Owner, *, turns: Sequence[str], memories: Sequence[str] = ()
) -> dict[str, int]:
    """The number of rows per table that concern one of these turns or memories."""
    elsewhere = or_(SetAside.message_id.is_(None), SetAside.message_id.not_in(turns))  # the others count as the turns'
    conditions: tuple[tuple[type[Owned], Sequence[str], Callable[[Sequence[str]], ColumnElement[bool]]], ...] = (
        (Message, turns, Message.id.in_),
        (Memory, turns, Memory.message_id.in_),
        (Memory, memories, lambda ids: or_(Memory.id.in_(ids), Memory.superseded_by.in_(ids))),
        (MemorySource, turns, MemorySource.message_id.in_),
        (MemorySource, memories, MemorySource.memory_id.in_),
        (Embedding, turns, lambda ids: and_(Embedding.kind == "turn", Embedding.item_id.in_(ids))),
        (Embedding, memories, lambda ids: and_(Embedding.kind == "memory", Embedding.item_id.in_(ids))),
        (
            ReplyContextItem,
            turns,
            lambda ids: or_(
                and_(ReplyContextItem.kind == "turn", ReplyContextItem.item_id.in_(ids)),
                ReplyContextItem.message_id.in_(ids),
            ),
        ),
        (
            ReplyContextItem,
            memories,
            lambda ids: or_(
                and_(ReplyContextItem.kind == "memory", ReplyContextItem.item_id.in_(ids)),
                ReplyContextItem.message_id.in_(ids),
            ),
        ),
        (SetAside, turns, SetAside.message_id.in_),
        (SetAside, memories, lambda ids: and_(SetAside.kind == "memory", SetAside.item_id.in_(ids), elsewhere)),
    )
    counts = dict.fromkeys(("messages", "memories", "memory_sources", "embeddings", "given", "set_aside"), 0)
    async with engine.connect() as connection:
        for table, ids, about in conditions:
            for first in range(0, len(ids), ROWS_AT_ONCE):
                query = owner.select(table, func.count()).where(about(ids[first : first + ROWS_AT_ONCE]))
                counts[table.__tablename__] += (await connection.execute(query)).scalar_one()
    return counts


async def _ids(connection: AsyncConnection, query: Select[Any]) -> list[str]:
    return list((await connection.execute(query)).scalars())


def _quoted_aside(owner: Owner, turns: Select[Any] | Sequence[str]) -> Select[Any]:
    """The memories that are set aside and quote one of these turns."""
    return owner.select(SetAside, SetAside.item_id).where(SetAside.kind == "memory", SetAside.message_id.in_(turns))


async def _delete(
    connection: AsyncConnection,
    owner: Owner,
    turns: Select[Any] | Sequence[str],
    memories: Select[Any],
    version: int,
) -> None:
    for kind, items in (("memory", memories), ("turn", turns)):
        for table in (Embedding, ReplyContextItem):
            gone = owner.delete(table).where(table.kind == kind, table.item_id.in_(items))
            await connection.execute(gone)
    for replies in (turns, memories):  # a reply that was replaced is a memory
        await connection.execute(owner.delete(ReplyContextItem).where(ReplyContextItem.message_id.in_(replies)))
    later = owner.update(Memory).where(Memory.superseded_by.in_(memories))
    freed = later.values(superseded_by=None, changed_in=version)
    await connection.execute(freed.execution_options(synchronize_session=False))
    await drop_sources(connection, owner, memories)
    await connection.execute(owner.delete(Memory).where(Memory.id.in_(memories)))
    await connection.execute(owner.delete(Message).where(Message.id.in_(turns)))


async def _renew_neighbours(
    connection: AsyncConnection, owner: Owner, conversation: str, going: set[str], version: int
) -> None:
    columns = (Message.said_at, Message.position, Message.id)
    rows = await connection.execute(owner.select(Message, *columns).where(Message.conversation_id == conversation))
    positions = [TurnPosition(*row) for row in rows]
    staying = [position for position in positions if position.id not in going]
    await void_windows(connection, owner, beside(staying, [each for each in positions if each.id in going]), version)
