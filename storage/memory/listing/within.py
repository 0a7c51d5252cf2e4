"""Which turns and memories a search is limited to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, or_
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.memories import MemoryFilter, ids_of_memories
from storage.memory.owner import Owner
from storage.memory.tables import Conversation, ItemKind, Memory, MemoryKind, Message


@dataclass(frozen=True, slots=True)
class RecallFilter:
    """Each field that is not None narrows a search.

    Attributes:
        kinds: of memories, or "turn".
        conversation: by the application's name: its turns, and the memories that quote them or belong to it.
        since: said, happened, or (if that is not known) stored at or after.
        until: the same, before.
        tags: memories with any of these; turns have none.

    """

    kinds: Sequence[MemoryKind | Literal["turn"]] | None = None
    conversation: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    tags: Sequence[str] | None = None


async def items_within(engine: AsyncEngine, owner: Owner, only: RecallFilter) -> set[tuple[ItemKind, str]]:
    """The turns and memories that match; former texts are among them."""
    found: set[tuple[ItemKind, str]] = set()
    if only.tags is None and (only.kinds is None or "turn" in only.kinds):
        found |= {("turn", id_) for id_ in await _turns(engine, owner, only)}
    kinds = None if only.kinds is None else [each for each in only.kinds if each != "turn"]
    if kinds != []:
        found |= {("memory", id_) for id_ in await _memories(engine, owner, only, kinds)}
    return found


async def _turns(engine: AsyncEngine, owner: Owner, only: RecallFilter) -> list[str]:
    query = owner.select(Message, Message.id)
    if only.conversation is not None:
        query = query.where(Message.conversation_id.in_(_named(owner, only.conversation)))
    if only.since is not None:
        query = query.where(Message.said_at >= only.since)
    if only.until is not None:
        query = query.where(Message.said_at < only.until)
    async with engine.connect() as connection:
        return list((await connection.execute(query)).scalars())


async def _memories(
    engine: AsyncEngine, owner: Owner, only: RecallFilter, kinds: Sequence[MemoryKind] | None
) -> set[str]:
    filters = MemoryFilter(kinds=kinds, since=only.since, until=only.until, tags=only.tags, with_former=True)
    ids = await ids_of_memories(engine, owner, filters)
    if only.conversation is None:
        return ids
    turns = owner.select(Message, Message.id).where(Message.conversation_id.in_(_named(owner, only.conversation)))
    there = owner.select(Memory, Memory.id).where(
        or_(Memory.message_id.in_(turns), Memory.conversation == only.conversation)
    )
    async with engine.connect() as connection:
        return ids & set((await connection.execute(there)).scalars())


def _named(owner: Owner, conversation: str) -> Select[Any]:
    return owner.select(Conversation, Conversation.id).where(Conversation.external_id == conversation)
