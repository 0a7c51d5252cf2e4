"""What the database holds about a person, counted and judged independently of the queries under test."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.memories import MemoryRecord
from storage.memory.owner import Owner
from storage.memory.tables import Embedding, Memory, Message
from storage.memory.vectors.embeddings import Space


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of a person's items have all their vectors in a space."""

    embedded: int
    items: int


async def read_progress(engine: AsyncEngine, owner: Owner, space: Space) -> Progress:
    """The progress of a person's embeddings in `space`."""
    done = owner.select(Embedding, func.count()).where(
        Embedding.model == space.model,
        Embedding.revision == space.revision,
        or_(Embedding.kind == "memory", Embedding.window.is_not(None)),
    )
    queries = (done, owner.select(Message, func.count()), owner.select(Memory, func.count()))
    async with engine.connect() as connection:
        embedded, turns, memories = [int((await connection.execute(query)).scalar_one()) for query in queries]
    return Progress(embedded, turns + memories)


def holds_at(memory: MemoryRecord, instant: datetime) -> bool:
    """Whether the memory is valid at this time."""
    begun = memory.valid_from is None or memory.valid_from <= instant
    return begun and (memory.valid_until is None or instant < memory.valid_until)
