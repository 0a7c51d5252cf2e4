"""Agents' documents about a person, changed by compare-and-set. It does not know their meaning.

A change after the person's erasure finds no row of its version, and stores nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, or_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.agents.tables import AgentState
from storage.database import upsert
from storage.erasure.log import Erased, ErasureLog
from storage.memory.owner import WHOEVER, Owner


@dataclass(frozen=True, slots=True)
class StateKey:
    """The key of a document: `agent`, conversation ("" for none in particular), name."""

    owner: Owner
    agent: str
    conversation: str
    name: str


@dataclass(frozen=True, slots=True)
class Versioned:
    """A document and its version, counted from 1."""

    value: Mapping[str, Any]
    version: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """Tells a content of a document from every other: deleted and made anew, it has another time."""

    version: int
    updated_at: datetime


class SqlStates:
    """Documents in SQL: an `agents.state.StateStore`.

    Args:
        engine: the pool.
        now: the time, aware.
        log: records deletions of documents of the agents in `logged`, so that no backup brings them back.

    """

    def __init__(
        self,
        engine: AsyncEngine,
        now: Callable[[], datetime],
        *,
        log: ErasureLog | None = None,
        logged: Collection[str] = (),
    ) -> None:
        self._engine = engine
        self._now = now
        self._log = log
        self._logged = frozenset(logged)

    async def load(self, key: StateKey) -> Versioned | None:
        """The document; None if there is none."""
        async with self._engine.connect() as connection:
            return await _load(connection, key)

    async def load_stamped(self, key: StateKey) -> tuple[Mapping[str, Any], Stamp] | None:
        """The document with its stamp; None if there is none."""
        query = key.owner.select(AgentState, AgentState.value, AgentState.version, AgentState.updated_at)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query.where(_is(key)))).one_or_none()
        return None if row is None else (row.value, Stamp(row.version, row.updated_at))

    async def stamps(self, owner: Owner, conversation: str) -> dict[StateKey, Stamp]:
        """The stamps of a person's documents in a conversation, and in none in particular."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_STAMPS, owner.columns | {"in_conversation": conversation})
            return {StateKey(owner, *key): Stamp(version, updated_at) for *key, version, updated_at in rows}

    async def save(self, key: StateKey, value: Mapping[str, Any], *, expected: int) -> bool:
        """Store it as version `expected` + 1 (0: must not exist yet). False, and nothing stored, on a conflict."""
        return await self.save_stamped(key, value, expected=expected) is not None

    async def save_stamped(self, key: StateKey, value: Mapping[str, Any], *, expected: int) -> Stamp | None:
        """As `save`, with the stamp of what is stored; None on a conflict."""
        now = self._now()
        async with self._engine.begin() as connection:
            is_stored = await _save(connection, key, value, expected=expected, now=now)
        return Stamp(expected + 1, now) if is_stored else None

    async def delete(self, key: StateKey) -> None:
        """Delete it, if it exists."""
        async with self._engine.begin() as connection:
            await connection.execute(key.owner.delete(AgentState).where(_is(key)))
            if self._log is not None and key.agent in self._logged:
                await self._log.note(connection, [erased(key)])

    async def of_person(self, owner: Owner) -> list[tuple[StateKey, Mapping[str, Any]]]:
        """All documents of a person, by agent, conversation and name."""
        names = (AgentState.agent, AgentState.conversation, AgentState.name)
        query = owner.select(AgentState, *names, AgentState.value).order_by(*names)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return [(StateKey(owner, agent, conversation, name), value) for agent, conversation, name, value in rows]


class StatesWithin:
    """The same within an open change: stored with it, or not at all.

    Args:
        connection: of the change.
        now: the time, aware.

    """

    def __init__(self, connection: AsyncConnection, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now

    async def load(self, key: StateKey) -> Versioned | None:
        """As `SqlStates.load`."""
        return await _load(self._connection, key)

    async def save(self, key: StateKey, value: Mapping[str, Any], *, expected: int) -> bool:
        """As `SqlStates.save`."""
        return await _save(self._connection, key, value, expected=expected, now=self._now())

    async def replace(self, key: StateKey, value: Mapping[str, Any]) -> None:
        """Store it, replacing an existing one."""
        kept = await self.load(key)
        await self.save(key, value, expected=0 if kept is None else kept.version)

    async def delete(self, key: StateKey) -> None:
        """As `SqlStates.delete`."""
        await self._connection.execute(key.owner.delete(AgentState).where(_is(key)))


def erased(key: StateKey) -> Erased:
    """The document as a subject of an erasure."""
    return Erased("document", (key.owner.app, key.owner.user, key.agent, key.conversation, key.name))


async def delete_of_conversation(connection: AsyncConnection, owner: Owner, conversation: str) -> None:
    """Delete, within an open change, the documents of a conversation (its id at the application)."""
    await connection.execute(owner.delete(AgentState).where(AgentState.conversation == conversation))


async def _load(connection: AsyncConnection, key: StateKey) -> Versioned | None:
    query = key.owner.select(AgentState, AgentState.value, AgentState.version).where(_is(key))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Versioned(row.value, row.version)


async def _save(
    connection: AsyncConnection, key: StateKey, value: Mapping[str, Any], *, expected: int, now: datetime
) -> bool:
    stored = {"value": dict(value), "version": expected + 1, "updated_at": now}
    if expected:
        change = key.owner.update(AgentState).where(_is(key), AgentState.version == expected)
        result = await connection.execute(change.values(stored).returning(AgentState.version))
    else:
        names = {"agent": key.agent, "conversation": key.conversation, "name": key.name}
        row = upsert(AgentState, connection.dialect.name).values(**key.owner.columns, **names, **stored)
        result = await connection.execute(row.on_conflict_do_nothing().returning(AgentState.version))
    return result.one_or_none() is not None


def _is(key: StateKey) -> ColumnElement[bool]:
    return and_(AgentState.agent == key.agent, AgentState.conversation == key.conversation, AgentState.name == key.name)


_STAMPS = WHOEVER.select(
    AgentState,
    AgentState.agent,
    AgentState.conversation,
    AgentState.name,
    AgentState.version,
    AgentState.updated_at,
).where(or_(AgentState.conversation == "", AgentState.conversation == bindparam("in_conversation")))
