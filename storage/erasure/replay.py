"""Repeats, in a restored database, the erasures made after the backup.

Entries are anonymous (`storage.erasure.log`), so every possible subject in the database is hashed and compared. It may
be killed at any point and repeated.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, insert, select, union
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.agents.states import SqlStates, StateKey
from storage.agents.states import erased as erased_document
from storage.agents.tables import AgentState
from storage.erasure.log import Erased, Erasure, ErasureLog
from storage.memory import deletion, erasure
from storage.memory.owner import Owner
from storage.memory.tables import Conversation, Memory, Message, SetAside


class Entry(NamedTuple):
    """A row of the log of erasures."""

    id: str
    digest: str
    at: datetime


async def read_entries(engine: AsyncEngine) -> list[Entry]:
    """All entries of the database."""
    async with engine.connect() as connection:
        rows = await connection.execute(select(Erasure.id, Erasure.digest, Erasure.at).order_by(Erasure.id))
        return [Entry(*row) for row in rows]


async def replay(engine: AsyncEngine, log: ErasureLog, entries: Iterable[Entry], *, now: datetime) -> int:
    """Apply and add the entries that the database lacks; returns how much was erased.

    `log` has the key that they were made with.
    """
    known = {each.id for each in await read_entries(engine)}
    missing = [each for each in entries if each.id not in known]
    digests = {each.digest for each in missing}
    if not digests:
        return 0
    erased = 0
    async for each, owner in _everything(engine):
        if log.digest(each) in digests:
            await _erase(engine, each, owner, now)
            erased += 1
    async with engine.begin() as connection:
        await connection.execute(insert(Erasure), [each._asdict() for each in missing])
    await erasure.scrub(engine)
    return erased


async def _erase(engine: AsyncEngine, erased: Erased, owner: Owner, now: datetime) -> None:
    kind, id_ = erased.kind, erased.names[-1]
    if kind == "application":
        await erasure.erase(engine, owner.app)
    elif kind == "person":
        await erasure.erase(engine, owner)
    elif kind == "document":
        agent, conversation, name = erased.names[2:]
        await SqlStates(engine, lambda: now).delete(StateKey(owner, agent, conversation, name))
    elif kind == "conversation":
        await deletion.delete_conversation(engine, owner, id_, now=now)
    else:
        turns, memories = ([id_], []) if kind == "turn" else ([], [id_])
        await deletion.delete_items(engine, owner, turns=turns, memories=memories, now=now)


async def _everything(engine: AsyncEngine) -> AsyncIterator[tuple[Erased, Owner]]:
    """All possible subjects of an erasure, the largest first."""
    tables = [table for table in erasure.owned_tables() if table.name not in erasure.KEPT]
    owners = [Owner(*row) for row in await _rows(engine, [select(table.c.app, table.c.end_user) for table in tables])]
    for app in sorted({owner.app for owner in owners}):
        yield Erased.whom(app), Owner(app, "")
    for owner in owners:
        yield Erased.whom(owner), owner
    conversations = [
        select(Conversation.app, Conversation.end_user, Conversation.external_id),
        select(SetAside.app, SetAside.end_user, SetAside.conversation),
        select(AgentState.app, AgentState.end_user, AgentState.conversation),
    ]
    turns = [
        select(Message.app, Message.end_user, Message.id),
        select(SetAside.app, SetAside.end_user, SetAside.item_id).where(SetAside.kind == "turn"),
    ]
    memories = [
        select(Memory.app, Memory.end_user, Memory.id),
        select(SetAside.app, SetAside.end_user, SetAside.item_id).where(SetAside.kind == "memory"),
    ]
    for app, user, id_ in await _rows(engine, conversations):
        if id_ is not None:
            yield Erased.item("conversation", Owner(app, user), id_), Owner(app, user)
    documents = select(AgentState.app, AgentState.end_user, AgentState.agent, AgentState.conversation, AgentState.name)
    for app, user, *names in await _rows(engine, [documents]):
        yield erased_document(StateKey(Owner(app, user), *names)), Owner(app, user)
    for app, user, id_ in await _rows(engine, turns):
        yield Erased.item("turn", Owner(app, user), id_), Owner(app, user)
    for app, user, id_ in await _rows(engine, memories):
        yield Erased.item("memory", Owner(app, user), id_), Owner(app, user)


async def _rows(engine: AsyncEngine, selects: Sequence[Select[*tuple[Any, ...]]]) -> list[Any]:
    """The rows of all of these, without duplicates."""
    async with engine.connect() as connection:
        return list(await connection.execute(union(*selects)))
