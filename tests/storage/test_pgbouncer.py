"""Behind a real PgBouncer in transaction mode, with fewer server connections than clients, all is as without it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage import migrate
from storage.database import AWAY, Pool, open_engine
from storage.memory.change_feed import changes
from storage.memory.conversations import NewMessage
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.people import bump
from tests.support.databases.pgbouncer_server import PgBouncer
from tests.support.databases.postgres_server import PostgresServer
from tests.support.gateway_process import GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder
from tests.support.servers.embedder import EmbedderServer

MakePgBouncer = Callable[..., PgBouncer]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANN = Owner("app", "ann")
SERVER_CONNECTIONS = 2
PEOPLE = 12
SMALL = Pool(1, 2)
ROUNDS = 4
SELF = "pid <> pg_backend_pid() and backend_type = 'client backend'"


@asynccontextmanager
async def opened(url: str, pool: Pool = SMALL) -> AsyncIterator[AsyncEngine]:
    """Have a pool of connections."""
    engine = open_engine(url, pool)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def store_on(url: str, pool: Pool = SMALL) -> AsyncIterator[MemoryService]:
    """Have a store with a pool of its own, as another process has it."""
    embedder = WordEmbedder()
    async with opened(url, pool) as engine:
        index_cache = IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**30)
        yield MemoryService(engine, index_cache, embedder, lambda: NOW)
        index_cache.close()


@asynccontextmanager
async def all_taken(url: str) -> AsyncIterator[None]:
    """Hold every server connection, in transactions."""
    async with opened(url) as engine, engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            await connection.execute(text("select 1"))
        yield


async def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of a statement, over a connection of its own."""
    async with opened(url) as engine, engine.begin() as connection:
        return [tuple(row) for row in await connection.execute(text(statement))]


def turn(number: int, text: str) -> NewMessage:
    """Return a message."""
    return NewMessage(f"m{number}", "Ann", text, NOW + timedelta(minutes=number))


def test_migrations_go_through_it(make_pgbouncer: MakePgBouncer) -> None:
    """Down and up make what is declared."""
    url = make_pgbouncer().url
    migrate.downgrade(url)
    migrate.upgrade(url)
    migrate.check(url)


async def test_many_people_share_few_server_connections(
    make_pgbouncer: MakePgBouncer, postgres: PostgresServer
) -> None:
    """Each finds all that is theirs and nothing else, and no server connection keeps a statement of anybody's."""
    url = make_pgbouncer(server_connections=SERVER_CONNECTIONS).url

    async def live(number: int) -> list[str]:
        owner = Owner("app", f"person-{number}")
        async with store_on(url) as store:
            for each in range(ROUNDS):
                await store.ingest(owner, "c", [turn(each, f"secret{number} of round {each}")])
                await store.add(owner, NewMemory(f"secret{number} remembered in round {each}"))
                await store.recall(owner, "secret", limit=5)
            return [found.record.text for found in await store.recall(owner, "secret round", limit=100)]

    found = await asyncio.gather(*(live(number) for number in range(PEOPLE)))
    for number, texts in enumerate(found):
        assert len(texts) == 2 * ROUNDS
        assert all(f"secret{number} " in each for each in texts)
    assert await ask(postgres.url, f"select count(*) from pg_stat_activity where {SELF}") == [(SERVER_CONNECTIONS,)]
    async with opened(url) as engine, engine.connect() as one, engine.connect() as other:
        kept = [await each.execute(text("select count(*) from pg_prepared_statements")) for each in (one, other)]
        assert [each.scalar_one() for each in kept] == [0, 0]


async def test_a_long_past_is_read_in_portions(make_pgbouncer: MakePgBouncer) -> None:
    """A cursor over more rows than a portion, with others writing meanwhile, misses none."""
    url = make_pgbouncer(server_connections=SERVER_CONNECTIONS).url
    async with store_on(url) as writer, opened(url) as engine:
        await writer.ingest(ANN, "c", [turn(number, f"word {number}") for number in range(600)])

        async def read() -> list[str]:
            portions = changes(engine, ANN, WordEmbedder().space, since=0)
            return [row.text async for rows in portions for row in rows if row.single and row.window]

        others = [writer.ingest(Owner("app", f"other-{number}"), "c", [turn(1, "another word")]) for number in range(8)]
        found, *_ = await asyncio.gather(read(), *others)
        assert found == [f"word {number}" for number in range(600)]


async def test_a_server_connection_is_lost_in_mid_change(
    make_pgbouncer: MakePgBouncer, postgres: PostgresServer
) -> None:
    """What was not committed is not there, the failure is among AWAY, and the next change succeeds."""
    url = make_pgbouncer().url
    async with opened(url) as engine, store_on(url) as store:

        async def change() -> None:
            async with engine.begin() as connection:
                await bump(connection, ANN, now=NOW)
                await ask(postgres.url, f"select pg_terminate_backend(pid) from pg_stat_activity where {SELF}")
                await connection.execute(text("select 1"))

        with pytest.raises(AWAY):
            await change()
        assert await ask(url, "select count(*) from people") == [(0,)]
        await store.ingest(ANN, "c", [turn(1, "said afterwards")])
        await ask(postgres.url, f"select pg_terminate_backend(pid) from pg_stat_activity where {SELF}")
        assert [each.record.text for each in await store.recall(ANN, "said", limit=5)] == ["said afterwards"]


async def test_waiting_too_long_counts_as_unavailable(make_pgbouncer: MakePgBouncer) -> None:
    """Whether PgBouncer has no server connection in its time or the pool none in its own: AWAY, until there is one."""
    url = make_pgbouncer(server_connections=SERVER_CONNECTIONS, wait_s=1).url
    async with opened(url, Pool(1, 1, 0.1)) as engine:
        async with all_taken(url):
            with pytest.raises(AWAY, match="query_wait_timeout"):
                await engine.connect()
        async with engine.connect() as connection:
            assert (await connection.execute(text("select 1"))).scalar_one() == 1
            with pytest.raises(AWAY, match="QueuePool limit"):
                await engine.connect()


def test_the_api_says_that_the_database_is_away(tmp_path: Path, make_pgbouncer: MakePgBouncer) -> None:
    """503 and when to come back, for a key that the gateway knows as for one that it does not; then all is well."""
    url = make_pgbouncer(server_connections=SERVER_CONNECTIONS, wait_s=1).url
    gateway = GatewayProcess(tmp_path, DATABASE_URL=url, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS))
    with EmbedderServer(gateway.ingress_port), gateway:
        keys = [gateway.make_key("one", tier="admin") for _ in range(2)]
        path = "/api/v1/memories?user=ann"
        assert gateway.get(path, keys[0]).status_code == 200

        async def while_taken() -> None:
            async with all_taken(url):
                for key in keys:
                    answer = await asyncio.to_thread(gateway.get, path, key)
                    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable")
                    assert int(answer.headers["retry-after"]) > 0

        asyncio.run(while_taken())
        assert [gateway.get(path, key).status_code for key in keys] == [200, 200]
