"""The cost of a person's index, by size: building it from SQL, querying it again, updating it.

    python -m bench.memory.speed [--items 500 5000 20000] [--database URL]

The database is an empty SQLite file of its own unless another (migrated, without rows) is named. Vectors are random, of
MiniLM's 384 dimensions: nothing is embedded, and the quality of recall is not measured (see `bench.recall`). Medians.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from memory.recall.index_cache import IndexCache
from memory.recall.ranking import Matrix
from memory.service import MemoryService
from storage import migrate
from storage.database import open_engine
from storage.memory.conversations import NewMessage
from storage.memory.owner import Owner
from storage.memory.vectors.embeddings import Space

DIMENSIONS = 384
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = [f"word{number}" for number in range(5_000)]
PIECE = 1_000  # messages


class RandomEmbedder:
    """Unit vectors without meaning."""

    def __init__(self) -> None:
        self.space = Space("random", "1")
        self.dimensions = DIMENSIONS
        self._draw = np.random.default_rng(0)

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """A row for each of `texts`."""
        rows = self._draw.standard_normal((len(texts), DIMENSIONS), dtype=np.float32)
        found: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return found


def turns(count: int) -> list[NewMessage]:
    """Made-up turns of 15 words, a minute apart."""
    draw = np.random.default_rng(count)
    texts = [" ".join(WORDS[each] for each in draw.zipf(1.3, 15) % len(WORDS)) for _ in range(count)]
    return [
        NewMessage(str(number), ("Ann", "Bob")[number % 2], text, BEGINNING + timedelta(minutes=number))
        for number, text in enumerate(texts)
    ]


async def median_ms(
    work: Callable[[], Awaitable[object]], times: int, *, after: Callable[[], Awaitable[object]] | None = None
) -> float:
    """The median of so many runs, each `after` something that is not counted."""
    times_ms = []
    for _ in range(times):
        if after is not None:
            await after()
        began = time.perf_counter()
        await work()
        times_ms.append((time.perf_counter() - began) * 1000)
    return statistics.median(times_ms)


async def measure(url: str, items: int) -> None:
    """Print a row of the table."""
    engine, embedder = open_engine(url), RandomEmbedder()
    index_cache = IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**30)
    store, owner = MemoryService(engine, index_cache, embedder, lambda: datetime.now(UTC)), Owner("bench", str(items))
    texts = turns(items)
    began = time.perf_counter()
    for first in range(0, items, PIECE):
        await store.ingest(owner, "c", texts[first : first + PIECE])
    stored_s = time.perf_counter() - began

    async def recall() -> None:
        await store.recall(owner, "When did Ann talk about word7 and word123?", limit=10)

    async def recall_anew() -> None:
        index_cache.drop(owner)
        await recall()

    number = items

    async def append() -> None:
        nonlocal number
        number += 1
        turn = NewMessage(str(number), "Ann", "word1 word2", BEGINNING + timedelta(minutes=number))
        await store.ingest(owner, "c", [turn])

    anew_ms, warm_ms = await median_ms(recall_anew, 5), await median_ms(recall, 20)
    append_ms, after_ms = await median_ms(append, 20), await median_ms(recall, 20, after=append)
    size_mib = index_cache.size_bytes / 2**20
    print(
        f"| {items:,} | {anew_ms:.0f} | {warm_ms:.1f} | {append_ms:.1f} | {after_ms:.1f} "
        f"| {size_mib:.1f} | {items / stored_s:,.0f} |"
    )
    index_cache.close()
    await engine.dispose()


async def run(url: str, sizes: Sequence[int]) -> None:
    """Print the table."""
    print("| turns | first recall, ms | next, ms | a turn more, ms | the recall after it, ms | view, MiB | stored/s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for items in sizes:
        await measure(url, items)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.speed")
    parser.add_argument("--items", type=int, nargs="+", default=[500, 5_000, 20_000])
    parser.add_argument("--database", help="SQLAlchemy async address of an empty, migrated database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database or f"sqlite+aiosqlite:///{Path(folder) / 'bench.db'}"
        if options.database is None:
            migrate.upgrade(url)
        asyncio.run(run(url, options.items))


if __name__ == "__main__":
    main()
