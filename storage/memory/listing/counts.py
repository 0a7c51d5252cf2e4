"""How much there is of a person."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.former_texts import are_current
from storage.memory.owner import Owner
from storage.memory.tables import Conversation, Memory, Message


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of conversations, of messages by speaker, and of memories by kind and by tag; no former texts."""

    conversations: int
    messages: int
    speakers: Mapping[str, int]
    memories: int
    kinds: Mapping[str, int]
    tags: Mapping[str, int]


async def read_counts(engine: AsyncEngine, owner: Owner) -> Counts:
    """Count."""
    speakers = owner.select(Message, Message.speaker, func.count()).group_by(Message.speaker)
    memories = owner.select(Memory, Memory.kind, Memory.tags).where(are_current(Memory.id))
    async with engine.connect() as connection:
        conversations = (await connection.execute(owner.select(Conversation, func.count()))).scalar_one()
        by_speaker = {row[0]: int(row[1]) for row in await connection.execute(speakers)}
        found = (await connection.execute(memories)).all()
    return Counts(
        conversations=int(conversations),
        messages=sum(by_speaker.values()),
        speakers=by_speaker,
        memories=len(found),
        kinds=Counter(row.kind for row in found),
        tags=Counter(tag for row in found for tag in row.tags),
    )
