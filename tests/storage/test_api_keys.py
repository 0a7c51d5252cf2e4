"""Keys and the database under them: migrations both ways, and what a key may and may not do."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.auth.api_keys import ApiKeyAuthenticator
from serving.errors import Unauthenticated
from storage import api_keys, migrate
from storage.database import open_engine

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    address: str = request.getfixturevalue("postgres").url
    migrate.downgrade(address)
    return address


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
    made = await api_keys.create_key(engine, app="dev", name="laptop", now=NOW)
    assert re.fullmatch(r"bd-[A-Za-z0-9_-]{43}", made.secret)
    assert await api_keys.find_key(engine, api_keys.hash_key(made.secret), NOW) == made.record
    assert await api_keys.find_key(engine, api_keys.hash_key(made.secret + "x"), NOW) is None
    async with engine.connect() as connection:
        row = (await connection.execute(text("select * from api_keys"))).one()
    assert not any(made.secret in str(value) for value in row)


async def test_a_revoked_key_is_no_longer_found(engine: AsyncEngine) -> None:
    """Revoking closes the door for good and stays in the list; an unknown id is None."""
    made = await api_keys.create_key(engine, app="dev", name="", now=NOW)
    revoked = await api_keys.revoke_key(engine, made.record.id, now=NOW + timedelta(hours=1))
    again = await api_keys.revoke_key(engine, made.record.id, now=NOW + timedelta(hours=2))
    assert revoked is not None
    assert revoked == again
    assert revoked.revoked_at == NOW + timedelta(hours=1)
    assert await api_keys.find_key(engine, api_keys.hash_key(made.secret), NOW) is None
    assert await api_keys.list_keys(engine) == [revoked]
    assert await api_keys.revoke_key(engine, "nothing", now=NOW) is None


def test_keys_of_before_tiers_become_standard(url: str) -> None:
    """A key made under the first schema keeps working, as `standard`, without expiry or consent; down keeps it too."""
    migrate.upgrade(url, "0001")

    async def run(*statements: str) -> list[object]:
        engine = open_engine(url)
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
        await engine.dispose()
        return list(result) if result.returns_rows else []

    old = f"'old', 'dev', '', 'bd-aaaa', '{api_keys.hash_key('bd-a')}', '2026-01-01 00:00:00'"
    asyncio.run(run(f"insert into api_keys (id, app, name, prefix, hash, created_at) values ({old})"))
    migrate.upgrade(url)

    async def find() -> api_keys.KeyRecord | None:
        engine = open_engine(url)
        record = await api_keys.find_key(engine, api_keys.hash_key("bd-a"), NOW)
        await engine.dispose()
        return record

    record = asyncio.run(find())
    assert record is not None
    assert (record.tier, record.expires_at, record.allow_external) == ("standard", None, False)
    migrate.downgrade(url, "0001")
    assert len(asyncio.run(run("select id from api_keys"))) == 1


async def test_a_key_expires_to_the_instant(engine: AsyncEngine) -> None:
    """Until its expiry it is found, from then on it is not; the list still shows it."""
    expires_at = NOW + timedelta(days=30)
    made = await api_keys.create_key(engine, app="dev", name="", now=NOW, tier="free", expires_at=expires_at)
    digest = api_keys.hash_key(made.secret)
    assert await api_keys.find_key(engine, digest, expires_at - timedelta(microseconds=1)) == made.record
    assert await api_keys.find_key(engine, digest, expires_at) is None
    assert await api_keys.list_keys(engine) == [made.record]


async def test_a_rotated_key_works_through_the_overlap(engine: AsyncEngine) -> None:
    """The new key has the old one's app, name, tier and consent; both work until the overlap is over, then the new."""
    old = await api_keys.create_key(engine, app="shop", name="till", now=NOW, tier="premium", allow_external=True)
    later = NOW + timedelta(days=3)
    new = await api_keys.rotate_key(engine, old.record.id, now=later, overlap=timedelta(hours=24))
    assert new is not None
    assert new.secret != old.secret
    for field in ("app", "name", "tier", "allow_external", "expires_at"):
        assert getattr(new.record, field) == getattr(old.record, field)
    last = later + timedelta(hours=24)
    for made in (old, new):
        found = await api_keys.find_key(engine, api_keys.hash_key(made.secret), last - timedelta(seconds=1))
        assert found is not None
        assert found.id == made.record.id
    assert await api_keys.find_key(engine, api_keys.hash_key(old.secret), last) is None
    assert await api_keys.find_key(engine, api_keys.hash_key(new.secret), last) == new.record


async def test_rotating_never_lengthens_a_key(engine: AsyncEngine) -> None:
    """An expiring key's successor lives as long as it was made to; the old one's end is only ever brought forward."""
    old = await api_keys.create_key(engine, app="a", name="", now=NOW, expires_at=NOW + timedelta(days=30))
    later = NOW + timedelta(days=29, hours=12)
    new = await api_keys.rotate_key(engine, old.record.id, now=later, overlap=timedelta(hours=24))
    assert new is not None
    assert new.record.expires_at == later + timedelta(days=30)
    (kept,) = [key for key in await api_keys.list_keys(engine) if key.id == old.record.id]
    assert kept.expires_at == NOW + timedelta(days=30)


async def test_only_a_valid_key_is_rotated(engine: AsyncEngine) -> None:
    """Unknown, revoked and expired ids yield None, and nothing is made."""
    revoked = await api_keys.create_key(engine, app="a", name="", now=NOW)
    await api_keys.revoke_key(engine, revoked.record.id, now=NOW)
    expired = await api_keys.create_key(engine, app="a", name="", now=NOW, expires_at=NOW + timedelta(seconds=1))
    later = NOW + timedelta(hours=1)
    for key_id in ("nothing", revoked.record.id, expired.record.id):
        assert await api_keys.rotate_key(engine, key_id, now=later, overlap=timedelta(0)) is None
    assert len(await api_keys.list_keys(engine)) == 2


async def test_a_remembered_key_is_refused_from_its_expiry_on(engine: AsyncEngine) -> None:
    """The ring asks SQL once, yet the instant of expiry counts; unknown, revoked and expired keys read the same."""
    expires_at = NOW + timedelta(seconds=2)
    made = await api_keys.create_key(engine, app="dev", name="", now=NOW, expires_at=expires_at)
    revoked = await api_keys.create_key(engine, app="dev", name="", now=NOW)
    await api_keys.revoke_key(engine, revoked.record.id, now=NOW)
    now, lookups = NOW, 0

    async def find(digest: str, at: datetime) -> api_keys.KeyRecord | None:
        nonlocal lookups
        lookups += 1
        return await api_keys.find_key(engine, digest, at)

    ring = ApiKeyAuthenticator(find, clock=lambda: 0.0, now=lambda: now)
    assert await ring.admit(f"Bearer {made.secret}") == made.record
    now = expires_at
    refusals = set()
    for secret in (made.secret, revoked.secret, "bd-unknown"):
        with pytest.raises(Unauthenticated) as refused:
            await ring.admit(f"Bearer {secret}")
        refusals.add(refused.value.body())
    assert len(refusals) == 1
    assert lookups == 3


async def test_keys_are_listed_by_application_in_order(engine: AsyncEngine) -> None:
    """Oldest first; `app` narrows."""
    for minutes, app in enumerate(["one", "two", "one"]):
        await api_keys.create_key(engine, app=app, name=str(minutes), now=NOW + timedelta(minutes=minutes))
    assert [key.name for key in await api_keys.list_keys(engine)] == ["0", "1", "2"]
    assert [key.name for key in await api_keys.list_keys(engine, app="one")] == ["0", "2"]


async def test_last_use_never_moves_back(engine: AsyncEngine) -> None:
    """Uses may be reported twice and out of order, for keys that are gone too."""
    made = await api_keys.create_key(engine, app="dev", name="", now=NOW)
    for minutes in (5, 1, 5):
        uses = {made.record.id: NOW + timedelta(minutes=minutes), "gone": NOW}
        await api_keys.note_uses(engine, uses)
    (record,) = await api_keys.list_keys(engine)
    assert record.last_used_at == NOW + timedelta(minutes=5)


async def test_instants_come_back_aware_and_in_utc(engine: AsyncEngine) -> None:
    """A naive instant is refused, whatever the database would do with it."""
    made = await api_keys.create_key(engine, app="dev", name="", now=NOW)
    (record,) = await api_keys.list_keys(engine)
    assert record == made.record
    assert record.created_at.utcoffset() == timedelta(0)
    with pytest.raises(Exception, match="naive"):
        await api_keys.create_key(engine, app="dev", name="", now=NOW.replace(tzinfo=None))


async def test_processes_write_at_once_without_errors(url: str, engine: AsyncEngine) -> None:
    """Two pools that write together both succeed: a writer waits its turn."""
    other = open_engine(url)
    makers = [
        api_keys.create_key(pool, app="dev", name=str(number), now=NOW)
        for number in range(10)
        for pool in (engine, other)
    ]
    await asyncio.gather(*makers)
    await other.dispose()
    assert len(await api_keys.list_keys(engine)) == 20
