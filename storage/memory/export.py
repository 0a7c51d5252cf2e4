"""Exports everything about a person from one database and imports it into another.

Embeddings are not exported: they are made again from the texts by the local model. Existing rows are kept, so importing
twice equals importing once. Messages get new ids, memories keep theirs.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.conversations import MessageRecord, NewMessage, take_in
from storage.memory.memories import NewMemory, NoSuchMessage, check_interval, check_quote, present_memories
from storage.memory.owner import Owner
from storage.memory.people import Profile, bump
from storage.memory.summaries import put_sources, read_sources
from storage.memory.tables import Conversation, Memory, Message, Person

ROWS_AT_ONCE = 200  # in one transaction: some tens of milliseconds on two slow cores


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedMemory(NewMemory):
    """A memory with the fields that it keeps in a new database; a summary with the turns that it was made from."""

    id: str
    created_at: datetime
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """A person's profile, conversations (by the application's name) and memories, oldest first.

    The `message_id` of a memory is the `id` of one of the messages, and so are its `sources`. `left` counts what a
    document has besides, which an import leaves out.
    """

    profile: Profile
    conversations: dict[str, Sequence[MessageRecord]]
    memories: Sequence[MovedMemory]
    left: Mapping[str, int] = field(default_factory=dict)


async def read_history(engine: AsyncEngine, owner: Owner) -> History:
    """The whole history of a person, in one snapshot."""
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
        async for rows in (await connection.stream(turns)).partitions(ROWS_AT_ONCE):  # the loop turns in between
            for row in rows:
                externals[row.conversation_id].append(MessageRecord(*row))
        columns = [getattr(Memory, field) for field in MovedMemory.__dataclass_fields__ if field != "sources"]
        sources = await read_sources(connection, owner)
        kept = owner.select(Memory, *columns).order_by(Memory.created_at, Memory.id)
        memories: list[MovedMemory] = []
        async for rows in (await connection.stream(kept)).partitions(ROWS_AT_ONCE):
            memories += [MovedMemory(**row._mapping, sources=tuple(sources.get(row.id, ()))) for row in rows]
    profile = Profile(None, {}) if person is None else Profile(person.name, person.profile)
    return History(profile, dict(messages), memories)


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of an import: how many conversations, messages and memories are new, and how many existed.

    `differing` messages existed with another text, which is kept. `profile` are the fields that were taken from the
    document (`name`, `details.KEY`); others were there. `since` is the first version that the import made.
    """

    new_messages: int
    known_messages: int
    new_memories: int
    known_memories: int
    since: int
    new_conversations: int = 0
    known_conversations: int = 0
    differing: int = 0
    profile: tuple[str, ...] = ()


async def write_history(engine: AsyncEngine, owner: Owner, history: History, *, now: datetime) -> Moved:
    """Add what is not there, in pieces of ROWS_AT_ONCE rows; of the profile, what the person's own does not have.

    Everything is checked before anything is written. Each piece is a separate transaction, followed by a pause of the
    same length, so that other writers do not wait long for SQLite. If the process dies in between, the import is
    partial; importing the same document again adds the rest.

    Raises NoSuchMessage, NotVerbatim and EmptyInterval as `storage.memory.memories.add_memory`.
    """
    await _check(engine, owner, history)
    writing = _Writing(owner, history.profile, now)
    for piece in _pieces(history):
        began_s = time.monotonic()
        async with engine.begin() as connection:
            await writing.write(connection, piece)
        if not piece.is_last:
            await asyncio.sleep(time.monotonic() - began_s)
    return writing.moved()


@dataclass(slots=True)
class _Piece:
    """The content of one transaction: turns by conversation, then memories."""

    turns: list[tuple[str, list[MessageRecord]]] = field(default_factory=list)
    memories: list[MovedMemory] = field(default_factory=list)
    is_last: bool = False


def _pieces(history: History) -> Iterator[_Piece]:
    """The history in pieces; there is at least one, and the last is marked."""
    piece, free = _Piece(), ROWS_AT_ONCE
    for external_id, messages in history.conversations.items():
        left = sorted(messages, key=lambda each: each.said_at)  # a later piece is then never put before an earlier one
        while True:
            some, left = left[:free], left[free:]
            piece.turns.append((external_id, some))
            free -= max(len(some), 1)
            if free <= 0:
                yield piece
                piece, free = _Piece(), ROWS_AT_ONCE
            if not left:
                break
    memories = list({each.id: each for each in history.memories}.values())
    while memories:
        piece.memories, memories = memories[:free], memories[free:]
        if memories:
            yield piece
            piece, free = _Piece(), ROWS_AT_ONCE
    piece.is_last = True
    yield piece


class _Writing:
    """A history being imported, piece by piece."""

    def __init__(self, owner: Owner, profile: Profile, now: datetime) -> None:
        self._owner = owner
        self._profile = profile
        self._now = now
        self._ids: dict[str, str] = {}  # a message's id here, by its id in the history
        self._messages = self._new_messages = self._memories = self._new_memories = self._differing = 0
        self._conversations: dict[str, bool] = {}  # whether it is new, by the application's name
        self._taken: tuple[str, ...] = ()  # fields of the profile
        self._since: int | None = None

    def moved(self) -> Moved:
        """The result so far."""
        assert self._since is not None, "there is at least one piece"
        known = self._messages - self._new_messages, self._memories - self._new_memories
        new = sum(self._conversations.values())
        return Moved(
            self._new_messages,
            known[0],
            self._new_memories,
            known[1],
            self._since,
            new_conversations=new,
            known_conversations=len(self._conversations) - new,
            differing=self._differing,
            profile=self._taken,
        )

    async def write(self, connection: AsyncConnection, piece: _Piece) -> None:
        """Write one piece, within a transaction."""
        owner, now = self._owner, self._now
        version = await bump(connection, owner, now=now, rewrites=True)
        self._since = version if self._since is None else self._since
        for external_id, messages in piece.turns:
            if external_id not in self._conversations:
                named = owner.select(Conversation, Conversation.id).where(Conversation.external_id == external_id)
                self._conversations[external_id] = (await connection.execute(named)).first() is None
            new = [NewMessage(each.external_id, each.speaker, each.text, each.said_at) for each in messages]
            ingested = await take_in(connection, owner, external_id, new, version=version, now=now, read_at=now)
            self._ids |= {each.id: ingested.ids[each.external_id] for each in messages}
            self._messages += len(ingested.ids)
            self._new_messages += len(ingested.added)
            self._differing += len(ingested.differing)
        if piece.memories:
            await self._write_memories(connection, piece.memories, version)
        if piece.is_last:
            await self._write_profile(connection)

    async def _write_profile(self, connection: AsyncConnection) -> None:
        """Add the fields that the person's own profile does not have."""
        row = (await connection.execute(self._owner.select(Person, Person.name, Person.profile))).one()
        fresh = {key: value for key, value in self._profile.details.items() if key not in row.profile}
        has_name = row.name is None and self._profile.name is not None
        self._taken = (*(["name"] if has_name else []), *(f"details.{key}" for key in fresh))
        if self._taken:
            name = self._profile.name if has_name else row.name
            changed = self._owner.update(Person).values(name=name, profile={**row.profile, **fresh})
            await connection.execute(changed)

    async def _write_memories(self, connection: AsyncConnection, memories: Sequence[MovedMemory], version: int) -> None:
        owner = self._owner
        here = [self._with_ids_here(each) for each in memories]
        await _check_sources(connection, owner, here)  # a message may have been forgotten since all were checked
        there = await present_memories(connection, owner, [each.id for each in here])
        changed = {"changed_in": version, "updated_at": self._now, **owner.columns}
        rows: list[dict[str, Any]] = [asdict(each) | changed for each in here if each.id not in there]
        sources = {row["id"]: row.pop("sources") for row in rows}
        if rows:
            await connection.execute(insert(Memory), rows)
            await put_sources(connection, owner, sources)
        self._memories += len(here)
        self._new_memories += len(rows)

    def _with_ids_here(self, memory: MovedMemory) -> MovedMemory:
        message_id = self._ids.get(memory.message_id or "", memory.message_id)
        return replace(memory, message_id=message_id, sources=tuple(self._ids.get(id_, id_) for id_ in memory.sources))


async def _check(engine: AsyncEngine, owner: Owner, history: History) -> None:
    """Raise before any write whatever the import would raise."""
    texts = {turn.id: turn.text for messages in history.conversations.values() for turn in messages}
    elsewhere: list[MovedMemory] = []
    for number, memory in enumerate(history.memories):
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)  # others have the event loop
        check_interval(memory.valid_from, memory.valid_until)
        if memory.message_id is None or memory.message_id in texts:
            check_quote(memory.quote, texts.get(memory.message_id or ""))
        else:
            elsewhere.append(memory)
        if others := tuple(id_ for id_ in memory.sources if id_ not in texts):
            elsewhere.append(replace(memory, message_id=None, quote=None, sources=others))
    async with engine.connect() as connection:
        for first in range(0, len(elsewhere), ROWS_AT_ONCE):
            await _check_sources(connection, owner, elsewhere[first : first + ROWS_AT_ONCE])


async def _check_sources(connection: AsyncConnection, owner: Owner, memories: Sequence[MovedMemory]) -> None:
    """Raise NoSuchMessage and NotVerbatim by the stored messages, in one statement for all."""
    quoted = {each.message_id for each in memories if each.message_id is not None}
    named = list(quoted.union(*(each.sources for each in memories)))
    if not named:
        return
    found = await connection.execute(owner.select(Message, Message.id, Message.text).where(Message.id.in_(named)))
    texts = {row.id: row.text for row in found}
    for memory in memories:
        if memory.message_id is not None:
            if memory.message_id not in texts:
                raise NoSuchMessage(memory.message_id)
            check_quote(memory.quote, texts[memory.message_id])
        if unknown := next((id_ for id_ in memory.sources if id_ not in texts), None):
            raise NoSuchMessage(unknown)
