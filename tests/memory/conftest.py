"""Databases of both kinds, migrated and without rows, and a store on each."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.index_cache import Shelf
from memory.service import Store
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
def make_shelf(engine: AsyncEngine, embedder: WordEmbedder) -> Iterator[Callable[..., Shelf]]:
    """Return what makes an empty shelf, as another worker has it."""
    made: list[Shelf] = []

    def make(max_bytes: int = 2**30) -> Shelf:
        made.append(Shelf(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=max_bytes))
        return made[-1]

    yield make
    for shelf in made:
        shelf.close()


@pytest.fixture
def shelf(make_shelf: Callable[..., Shelf]) -> Shelf:
    """Return a shelf with room for all."""
    return make_shelf()


@pytest.fixture
def store(engine: AsyncEngine, shelf: Shelf, embedder: WordEmbedder, clock: Clock) -> Store:
    """Return a store on an empty database."""
    return Store(engine, shelf, embedder, clock)
