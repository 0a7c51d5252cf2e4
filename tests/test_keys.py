"""Keys and the database under them: migrations both ways, and what a key may and may not do."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import keys, migrate
from storage.database import open_engine

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POSTGRES_URL = os.environ.get("BONDHU_TEST_POSTGRES_URL")  # an empty scratch database, postgresql+asyncpg://


@pytest.fixture(params=["sqlite", *(["postgres"] if POSTGRES_URL else [])])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    assert POSTGRES_URL
    migrate.downgrade(POSTGRES_URL)
    return POSTGRES_URL


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Return a pool on a migrated database."""
    await asyncio.to_thread(migrate.upgrade, url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


async def tables(url: str) -> set[str]:
    """Return the names of the tables in the database."""
    engine = open_engine(url)
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    await engine.dispose()
    return names


def test_migrations_go_up_and_down(url: str) -> None:
    """Up makes exactly the declared schema, twice is once, down leaves nothing but alembic's own table."""
    migrate.upgrade(url)
    migrate.upgrade(url)
    migrate.check(url)
    assert "api_keys" in asyncio.run(tables(url))
    migrate.downgrade(url)
    assert asyncio.run(tables(url)) <= {"alembic_version"}
    migrate.upgrade(url)
    migrate.check(url)


async def test_a_new_key_is_found_by_its_hash_and_kept_nowhere(engine: AsyncEngine) -> None:
    """The secret has the promised form, opens the door, and no column holds it."""
    made = await keys.create_key(engine, app="dev", name="laptop", now=NOW)
    assert re.fullmatch(r"bd-[A-Za-z0-9_-]{43}", made.secret)
    assert await keys.find_key(engine, keys.hash_key(made.secret)) == made.record
    assert await keys.find_key(engine, keys.hash_key(made.secret + "x")) is None
    async with engine.connect() as connection:
        row = (await connection.execute(text("select * from api_keys"))).one()
    assert not any(made.secret in str(value) for value in row)


async def test_a_revoked_key_is_no_longer_found(engine: AsyncEngine) -> None:
    """Revoking closes the door for good and stays in the list; an unknown id is None."""
    made = await keys.create_key(engine, app="dev", name="", now=NOW)
    revoked = await keys.revoke_key(engine, made.record.id, now=NOW + timedelta(hours=1))
    again = await keys.revoke_key(engine, made.record.id, now=NOW + timedelta(hours=2))
    assert revoked is not None
    assert revoked == again
    assert revoked.revoked_at == NOW + timedelta(hours=1)
    assert await keys.find_key(engine, keys.hash_key(made.secret)) is None
    assert await keys.list_keys(engine) == [revoked]
    assert await keys.revoke_key(engine, "nothing", now=NOW) is None


async def test_keys_are_listed_by_application_in_order(engine: AsyncEngine) -> None:
    """Oldest first; `app` narrows."""
    for minutes, app in enumerate(["one", "two", "one"]):
        await keys.create_key(engine, app=app, name=str(minutes), now=NOW + timedelta(minutes=minutes))
    assert [key.name for key in await keys.list_keys(engine)] == ["0", "1", "2"]
    assert [key.name for key in await keys.list_keys(engine, app="one")] == ["0", "2"]


async def test_last_use_never_moves_back(engine: AsyncEngine) -> None:
    """Uses may be reported twice and out of order, for keys that are gone too."""
    made = await keys.create_key(engine, app="dev", name="", now=NOW)
    for minutes in (5, 1, 5):
        uses = {made.record.id: NOW + timedelta(minutes=minutes), "gone": NOW}
        await keys.note_uses(engine, uses)
    (record,) = await keys.list_keys(engine)
    assert record.last_used_at == NOW + timedelta(minutes=5)


async def test_instants_come_back_aware_and_in_utc(engine: AsyncEngine) -> None:
    """A naive instant is refused, whatever the database would do with it."""
    made = await keys.create_key(engine, app="dev", name="", now=NOW)
    (record,) = await keys.list_keys(engine)
    assert record == made.record
    assert record.created_at.utcoffset() == timedelta(0)
    with pytest.raises(Exception, match="naive"):
        await keys.create_key(engine, app="dev", name="", now=NOW.replace(tzinfo=None))


async def test_processes_write_at_once_without_errors(url: str, engine: AsyncEngine) -> None:
    """Two pools that write together both succeed: a writer waits its turn."""
    other = open_engine(url)
    makers = [
        keys.create_key(pool, app="dev", name=str(number), now=NOW) for number in range(10) for pool in (engine, other)
    ]
    await asyncio.gather(*makers)
    await other.dispose()
    assert len(await keys.list_keys(engine)) == 20
