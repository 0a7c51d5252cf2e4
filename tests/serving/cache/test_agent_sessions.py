"""Sessions with agents in Redis over SQL: a run sees what SQL says, with Redis, without it, and whatever is in it."""

from collections.abc import AsyncIterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.cache.agent_sessions import MAX_BYTES, PREFIX, AgentSessions
from serving.errors import CacheAway
from serving.protocol.owner import owner_of
from serving.resilience.redis import GuardedRedis, open_redis
from storage.agents.states import SqlStates, StateKey, Versioned
from storage.memory import erasure
from storage.memory.deletion import delete_conversation
from storage.memory.owner import Owner
from tests.support.databases.redis_process import RedisProcess

MINA, RAFI = Owner("app", "mina"), Owner("app", "rafi")
GAME = StateKey(MINA, "games", "c", "game")
TASTE = StateKey(MINA, "music", "", "feedback")
ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # SQL is of no importance there
BEGINNING = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)


@pytest.fixture
def states(engine: AsyncEngine) -> SqlStates:
    """Return documents in each database, as another process writes them; each write has a time of its own."""
    ticks = count()
    return SqlStates(engine, lambda: BEGINNING + timedelta(microseconds=next(ticks)))


@pytest.fixture
async def redis(redis_process: RedisProcess) -> AsyncIterator[Redis]:
    """Return a client of Redis."""
    client = open_redis(redis_process.url)
    yield client
    await client.aclose()


@pytest.fixture
def sessions(states: SqlStates, redis: Redis) -> AgentSessions:
    """Return a worker's sessions."""
    eras = count()
    return AgentSessions(states, GuardedRedis(redis, timeout_s=5.0), lambda: f"era {next(eras)}")


@contextmanager
def statements_of(engine: AsyncEngine) -> Any:
    """Return the statements that SQL is asked within."""
    found: list[str] = []

    def note(*arguments: Any) -> None:
        found.append(arguments[2])

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield found
    event.remove(engine.sync_engine, "before_cursor_execute", note)


def value_of(stored: Versioned | None) -> Any:
    """Return the content."""
    return None if stored is None else stored.value


async def test_a_run_asks_sql_once_whatever_it_reads(engine: AsyncEngine, sessions: AgentSessions) -> None:
    """For the stamps, without contents; the contents come from Redis, where the last run left them."""
    before = sessions.of_run(MINA, "c")
    assert await before.save(GAME, {"board": "X"}, expected=0)
    assert await before.save(TASTE, {"shown": ["a", "b"]}, expected=0)
    run = sessions.of_run(MINA, "c")
    with statements_of(engine) as statements:
        for _ in range(3):
            assert value_of(await run.load(GAME)) == {"board": "X"}
            assert value_of(await run.load(TASTE)) == {"shown": ["a", "b"]}
            assert await run.load(StateKey(MINA, "auto", "c", "aside")) is None
    assert len(statements) == 1
    assert "agent_states.value" not in statements[0]


@ON_SQLITE
async def test_what_a_run_changes_in_a_document_is_not_stored(sessions: AgentSessions) -> None:
    """Until it saves it."""
    run = sessions.of_run(MINA, "c")
    await run.save(GAME, {"moves": ["a"]}, expected=0)
    loaded = await run.load(GAME)
    assert loaded is not None
    loaded.value["moves"].append("b")
    assert value_of(await run.load(GAME)) == {"moves": ["a"]}


async def test_a_stale_content_never_stands_for_a_newer(
    engine: AsyncEngine, states: SqlStates, sessions: AgentSessions
) -> None:
    """Whoever wrote the newer one, and if it has the same version: deleted, and made anew."""
    await sessions.of_run(MINA, "c").save(GAME, {"board": "old"}, expected=0)
    assert await states.save(GAME, {"board": "of a job"}, expected=1)
    assert value_of(await sessions.of_run(MINA, "c").load(GAME)) == {"board": "of a job"}
    await states.delete(GAME)
    assert await sessions.of_run(MINA, "c").load(GAME) is None
    await states.save(GAME, {"board": "anew"}, expected=0)
    await states.save(GAME, {"board": "anew, again"}, expected=1)
    assert value_of(await sessions.of_run(MINA, "c").load(GAME)) == {"board": "anew, again"}
    with statements_of(engine) as statements:
        assert value_of(await sessions.of_run(MINA, "c").load(GAME)) == {"board": "anew, again"}
    assert len(statements) == 1, "what was read from SQL is in Redis"


@ON_SQLITE
async def test_who_read_before_another_wrote_stores_nothing(sessions: AgentSessions) -> None:
    """A conflict; after it, the run sees what the other wrote."""
    await sessions.of_run(MINA, "c").save(GAME, {"n": 1}, expected=0)
    one, other = sessions.of_run(MINA, "c"), sessions.of_run(MINA, "c")
    for run in (one, other):
        assert value_of(await run.load(GAME)) == {"n": 1}
    assert await one.save(GAME, {"n": 2}, expected=1)
    assert not await other.save(GAME, {"n": 3}, expected=1)
    assert await other.load(GAME) == Versioned({"n": 2}, 2)
    assert await other.save(GAME, {"n": 3}, expected=2)
    assert value_of(await sessions.of_run(MINA, "c").load(GAME)) == {"n": 3}


@ON_SQLITE
async def test_without_redis_sql_has_all_of_it(redis_process: RedisProcess, sessions: AgentSessions) -> None:
    """Killed during a run, and before one; what comes back empty is filled again."""
    run = sessions.of_run(MINA, "c")
    await run.save(GAME, {"n": 1}, expected=0)
    redis_process.kill()
    assert await run.save(GAME, {"n": 2}, expected=1)
    without = sessions.of_run(MINA, "c")
    assert value_of(await without.load(GAME)) == {"n": 2}
    assert await without.save(TASTE, {"shown": []}, expected=0)
    await without.delete(TASTE)
    redis_process.start()
    sessions.store.redis.breaker.close()
    again = sessions.of_run(MINA, "c")
    assert await again.load(TASTE) is None
    assert value_of(await again.load(GAME)) == {"n": 2}
    assert await sessions.count(MINA) == 1


async def test_forgetting_is_of_redis_too(engine: AsyncEngine, sessions: AgentSessions) -> None:
    """Of one person and of nobody else; a run that began before does not bring it back."""
    rafis = StateKey(RAFI, "games", "c", "game")
    await sessions.of_run(RAFI, "c").save(rafis, {"n": 7}, expected=0)
    running = sessions.of_run(MINA, "c")
    await running.save(GAME, {"n": 1}, expected=0)
    await running.save(TASTE, {"shown": []}, expected=0)
    assert await sessions.count(MINA) == 2
    await erasure.erase(engine, MINA)
    await sessions.forget(MINA)
    assert await sessions.count(MINA) == 0
    assert not await running.save(GAME, {"n": 2}, expected=1)
    assert await running.save(StateKey(MINA, "auto", "c", "aside"), {"aside": True}, expected=0)
    assert await sessions.of_run(MINA, "c").load(GAME) is None
    assert await sessions.count(RAFI) == 1
    await sessions.forget("app")
    assert await sessions.count("app") == 0


@ON_SQLITE
async def test_a_run_that_read_before_an_erasure_stores_nothing_in_redis(
    states: SqlStates, sessions: AgentSessions
) -> None:
    """It has the person's words from SQL, and Redis forgot the person in between."""
    await states.save(GAME, {"said": "secret"}, expected=0)
    run = sessions.of_run(MINA, "c")
    assert await run.load(TASTE) is None
    await run.save(TASTE, {}, expected=0)
    await sessions.forget(MINA)
    assert value_of(await run.load(GAME)) == {"said": "secret"}
    assert await sessions.count(MINA) == 0


@ON_SQLITE
async def test_what_is_deleted_goes_from_redis(engine: AsyncEngine, sessions: AgentSessions) -> None:
    """A document, and a conversation's, which no run finds any more."""
    for delete in (sessions.delete, sessions.of_run(MINA, "c").delete):
        await sessions.of_run(MINA, "c").save(TASTE, {"shown": ["a"]}, expected=0)
        await delete(TASTE)
        assert await sessions.count(MINA) == 0
        assert await sessions.of_run(MINA, "c").load(TASTE) is None
    await sessions.of_run(MINA, "c").save(GAME, {"n": 1}, expected=0)
    await delete_conversation(engine, MINA, "c", now=BEGINNING)
    assert await sessions.of_run(MINA, "c").load(GAME) is None


@ON_SQLITE
async def test_an_unavailable_redis_cannot_be_said_to_have_forgotten(
    redis_process: RedisProcess, sessions: AgentSessions
) -> None:
    """It is an error that names Redis."""
    redis_process.kill()
    with pytest.raises(CacheAway):
        await sessions.forget(MINA)


@ON_SQLITE
async def test_keys_expire_and_name_nobody(redis: Redis, sessions: AgentSessions) -> None:
    """Within half an hour; people are digests."""
    await sessions.of_run(MINA, "c").save(GAME, {"n": 1}, expected=0)
    keys = [key async for key in redis.scan_iter()]
    assert keys
    assert all(key.startswith(f"{PREFIX}{{{owner_of('app', 'mina')}}}".encode()) for key in keys)
    assert all([0 < await redis.ttl(key) <= 1800 for key in keys])


@ON_SQLITE
@pytest.mark.parametrize("value", [{"text": "x" * MAX_BYTES}, {1: "a", "b": ("c", 2**80)}])
async def test_a_run_sees_what_sql_has(states: SqlStates, sessions: AgentSessions, value: Any) -> None:
    """Of a content that is too long for Redis too, and of one that JSON changes."""
    run = sessions.of_run(MINA, "c")
    await run.save(GAME, value, expected=0)
    expected = value_of(await states.load(GAME))
    assert value_of(await run.load(GAME)) == expected
    assert value_of(await sessions.of_run(MINA, "c").load(GAME)) == expected
