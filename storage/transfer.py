"""All that a person has here, out of one database and into another.

Embeddings stay behind: they are made of the texts, by whatever model is there. What is there already stays as it is, so
taking the same in twice is taking it in once. Messages get ids of the new place, memories keep theirs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.conversations import AT_ONCE, MessageRecord, NewMessage, take_in
from storage.memories import NewMemory, check_interval, check_source
from storage.memory_schema import Conversation, Memory, Message, Person
from storage.owner import Owner
from storage.people import Profile, bump


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedMemory(NewMemory):
    """A memory with what it keeps in a new place."""

    id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class History:
    """A person's profile, conversations (by the application's name for them) and memories, oldest first.

    A memory's `message_id` is the `id` of one of the messages.
    """

    profile: Profile
    conversations: dict[str, Sequence[MessageRecord]]
    memories: Sequence[MovedMemory]


async def read_history(engine: AsyncEngine, owner: Owner) -> History:
    """All there is of a person, as of one moment."""
    async with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            await connection.exec_driver_sql("BEGIN")  # which the driver would not send before a SELECT
        person = (await connection.execute(owner.select(Person, Person.name, Person.profile))).one_or_none()
        named = owner.select(Conversation, Conversation.id, Conversation.external_id)
        names = await connection.execute(named.order_by(Conversation.external_id))
        messages: dict[str, list[MessageRecord]] = {}
        externals = {id_: messages.setdefault(external, []) for id_, external in names}
        columns = [getattr(Message, field) for field in MessageRecord.__dataclass_fields__]
        turns = owner.select(Message, *columns).order_by(Message.said_at, Message.position)
        for row in await connection.execute(turns):
            externals[row.conversation_id].append(MessageRecord(*row))
        columns = [getattr(Memory, field) for field in MovedMemory.__dataclass_fields__]
        rows = await connection.execute(owner.select(Memory, *columns).order_by(Memory.created_at, Memory.id))
        memories = [MovedMemory(**row._mapping) for row in rows]
    profile = Profile(None, {}) if person is None else Profile(person.name, person.profile)
    return History(profile, dict(messages), memories)


async def write_history(engine: AsyncEngine, owner: Owner, history: History, *, now: datetime) -> int:
    """Add what is not there, all of it or nothing; the version that this makes. The profile only where there is none.

    Raises NoSuchMessage, NotVerbatim and EmptyInterval as `storage.memories.add_memory`.
    """
    async with engine.begin() as connection:
        version = await bump(connection, owner, now=now, rewrites=True)
        ids: dict[str, str] = {}
        for external_id, messages in history.conversations.items():
            new = [NewMessage(each.external_id, each.speaker, each.text, each.said_at) for each in messages]
            taken = await take_in(connection, owner, external_id, new, version=version, now=now, read_at=now)
            ids |= {each.id: taken.ids[each.external_id] for each in messages}
        rows: dict[str, dict[str, Any]] = {}
        for memory in history.memories:
            check_interval(memory.valid_from, memory.valid_until)
            message_id = None if memory.message_id is None else ids.get(memory.message_id, memory.message_id)
            await check_source(connection, owner, memory.quote, message_id)
            moved = {"message_id": message_id, "changed_in": version, "updated_at": now, **owner.columns}
            rows[memory.id] = asdict(memory) | moved
        for first in range(0, len(rows), AT_ONCE):
            some = list(rows)[first : first + AT_ONCE]
            there = await connection.execute(owner.select(Memory, Memory.id).where(Memory.id.in_(some)))
            missing = set(some).difference(there.scalars())
            if missing:
                await connection.execute(insert(Memory), [rows[id_] for id_ in some if id_ in missing])
        absent = owner.update(Person).where(Person.name.is_(None))
        if history.profile.name is not None:
            await connection.execute(absent.values(name=history.profile.name, profile=history.profile.details))
    return version
