"""Mutes turns and memories, so that they are not recalled.

Only memories have marks; a turn has the marks of the memories that quote it (`storage.memory.change_feed`). So a turn
without a muted memory gets one that quotes it. It appears in the list of memories and can be unmuted there.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, insert, or_
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.deletion import Touched
from storage.memory.former_texts import BEGINNING, are_current, former_texts_of
from storage.memory.memories import NewMemory, new_row, touch_sources
from storage.memory.mutes.topics import NewTopic, add_topic, delete_topics
from storage.memory.owner import Owner
from storage.memory.people import bump
from storage.memory.tables import Memory, Message


async def mute_items(
    engine: AsyncEngine,
    owner: Owner,
    *,
    turns: Sequence[str],
    memories: Sequence[str],
    topic: NewTopic | None = None,
    now: datetime,
) -> tuple[Touched, int | None]:
    """Mute these turns and memories (a few hundred at most), and `topic` for what comes later, in one transaction.

    Returns the existing ones, with the memories created for turns, and the new version; None if none exists. Of a
    person of whom nothing is stored, no topic is stored.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        if topic is not None and version > 1:
            await add_topic(connection, owner, topic, now=now)
        named = owner.select(Message, Message.id, Message.text, Message.speaker).where(Message.id.in_(turns))
        turns_by_id = {row.id: row for row in await connection.execute(named)}
        memories = [*memories, *await former_texts_of(connection, owner, memories)]
        columns = (Memory.id, Memory.message_id, Memory.muted)
        about = owner.select(Memory, *columns).where(
            or_(Memory.id.in_(memories), Memory.message_id.in_(list(turns_by_id)))
        )
        quoting = (await connection.execute(about)).all()
        found = [row for row in quoting if row.muted or row.id in memories or row.id.startswith(BEGINNING)]
        if not turns_by_id and not found:
            if topic is None or version == 1:
                await connection.rollback()
            return Touched(), None
        muting = owner.update(Memory).where(Memory.id.in_([row.id for row in found if not row.muted]))
        await connection.execute(muting.values(muted=True, changed_in=version, updated_at=now))
        new = [
            NewMemory(turn.text, speaker=turn.speaker, quote=turn.text, message_id=turn.id, muted=True)
            for turn in turns_by_id.values()
            if turn.id not in {row.message_id for row in found if not row.id.startswith(BEGINNING)}
        ]
        rows = [new_row(each, secrets.token_hex(8), version=version, now=now) for each in new]
        if rows:
            await connection.execute(insert(Memory), [owner.columns | row for row in rows])
        read = owner.update(Message).where(Message.id.in_(list(turns_by_id)), Message.read_at.is_(None))
        await connection.execute(read.values(read_at=now))  # no memories are made of them any more
        await touch_sources(connection, owner, [*turns_by_id, *(row.message_id for row in found)], version)
    drawn = {row.id for row in found if row.message_id in turns_by_id} | {row["id"] for row in rows}
    ids = {row.id for row in found} | drawn
    return Touched(tuple(turns_by_id), tuple(ids), frozenset(drawn)), version


async def lift_topics(
    engine: AsyncEngine,
    owner: Owner,
    topics: Sequence[str],
    *,
    turns: Sequence[str] = (),
    memories: Sequence[str] = (),
    now: datetime,
) -> int | None:
    """Delete these topics, and unmute these memories and those that quote these turns.

    Returns how many memories were muted; None if there was neither a topic nor one of them.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now)
        gone = await delete_topics(connection, owner, topics)
        of_turns = and_(Memory.message_id.in_(turns), are_current(Memory.id))
        quoting = or_(Memory.id.in_(memories), of_turns)
        muted = owner.select(Memory, Memory.id, Memory.message_id).where(quoting, Memory.muted)
        found = (await connection.execute(muted)).all()
        if not gone and not found:
            await connection.rollback()
            return None
        unmuting = owner.update(Memory).where(Memory.id.in_([row.id for row in found]))
        await connection.execute(unmuting.values(muted=False, changed_in=version, updated_at=now))
        await touch_sources(connection, owner, [row.message_id for row in found], version)
    return len(found)
