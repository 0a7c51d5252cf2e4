"""Databases of both kinds, migrated and without rows, and a store on each."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A time that moves by a second whenever it is read, so that what came later is dated later."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        """Return the time."""
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def embedder() -> WordEmbedder:
    """Return an embedder that is there."""
    return WordEmbedder()


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def make_index_cache(engine: AsyncEngine, embedder: WordEmbedder) -> Iterator[Callable[..., IndexCache]]:
    """Return what makes an empty index cache, as another worker has it."""
    made: list[IndexCache] = []

    def make(max_bytes: int = 2**30) -> IndexCache:
        made.append(IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=max_bytes))
        return made[-1]

    yield make
    for index_cache in made:
        index_cache.close()


@pytest.fixture
def index_cache(make_index_cache: Callable[..., IndexCache]) -> IndexCache:
    """Return a index cache with room for all."""
    return make_index_cache()


@pytest.fixture
def store(engine: AsyncEngine, index_cache: IndexCache, embedder: WordEmbedder, clock: Clock) -> MemoryService:
    """Return a store on an empty database."""
    return MemoryService(engine, index_cache, embedder, clock)
