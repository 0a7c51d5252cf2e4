"""The worker and its tasks, against a real Redis and a real database."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis

from jobs import tasks
from jobs.app import create_app
from jobs.key_usage import KEY_USED, flush_key_uses
from jobs.schedule import Schedules
from serving.supervisor.processes import redis_server
from storage import api_keys, migrate
from storage.database import open_engine

DEADLINE_S = 60.0
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
USED = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Return the address of an empty Redis server on a Unix socket."""
    socket = tmp_path / "redis.sock"
    command = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"unix://{socket}"
    wait_for(socket.exists, "redis to listen")
    yield url
    server.terminate()
    server.wait()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Return the address of a migrated database."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    migrate.upgrade(url)
    return url


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.05)


def make_key(database_url: str) -> str:
    """Store a key; return its id."""

    async def make() -> str:
        engine = open_engine(database_url)
        made = await api_keys.create_key(engine, app="test", name="", now=NOW)
        await engine.dispose()
        return made.record.id

    return asyncio.run(make())


def last_used(database_url: str) -> datetime | None:
    """Return when the only key was last used, according to SQL."""

    async def look() -> datetime | None:
        engine = open_engine(database_url)
        (record,) = await api_keys.list_keys(engine)
        await engine.dispose()
        return record.last_used_at

    return asyncio.run(look())


def test_uses_move_from_redis_to_sql(redis_url: str, database_url: str) -> None:
    """What the gateway noted is in SQL and gone from Redis; unknown keys and nonsense do no harm."""
    key_id = make_key(database_url)
    with Redis.from_url(redis_url) as redis:
        assert flush_key_uses(redis, database_url) == 0
        noted = {key_id: str(int(USED.timestamp())), "gone": "1772366400", "odd": "yesterday"}
        redis.hset(KEY_USED, mapping=noted)
        assert flush_key_uses(redis, database_url) == 3
        assert not redis.exists(KEY_USED)
    assert last_used(database_url) == USED


def test_a_use_noted_during_the_flush_is_not_lost(redis_url: str, database_url: str, tmp_path: Path) -> None:
    """An entry that changed between reading and deleting stays for the next run."""
    key_id = make_key(database_url)

    class Busy(Redis):  # type: ignore[misc]
        """The gateway notes another use right after the flush has read."""

        def hgetall(self, name: str) -> object:
            found = super().hgetall(name)
            self.hset(name, key_id, str(int(USED.timestamp()) + 60))
            return found

    with Busy.from_url(redis_url) as redis:
        redis.hset(KEY_USED, key_id, str(int(USED.timestamp())))
        assert flush_key_uses(redis, database_url) == 0
        assert redis.hget(KEY_USED, key_id) is not None
    assert last_used(database_url) == USED


def test_a_flush_that_fails_leaves_everything_in_redis(redis_url: str, tmp_path: Path) -> None:
    """First SQL, then Redis: a database that is away loses nothing."""
    empty = f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    with Redis.from_url(redis_url) as redis:
        redis.hset(KEY_USED, "a", "1772366400")
        with pytest.raises(Exception, match="no such table"):
            flush_key_uses(redis, empty)
        assert redis.hlen(KEY_USED) == 1


@pytest.mark.parametrize("concurrency", [1, 2])
def test_the_worker_runs_what_is_sent_and_stops_on_sigterm(
    redis_url: str, database_url: str, tmp_path: Path, concurrency: int
) -> None:
    """A real worker process takes the task from Redis, and SIGTERM ends it in order."""
    key_id = make_key(database_url)
    with Redis.from_url(redis_url) as redis:
        redis.hset(KEY_USED, key_id, str(int(USED.timestamp())))
    command = [sys.executable, "-m", "jobs.worker", "--concurrency", str(concurrency)]
    environ = {**os.environ, "BONDHU_REDIS_URL": redis_url, "BONDHU_DATABASE_URL": database_url}
    worker = subprocess.Popen([*command, "--schedule", str(tmp_path / "beat")], env=environ)
    try:
        create_app(redis_url, database_url).send_task("jobs.flush_key_uses")
        wait_for(lambda: last_used(database_url) == USED, "the task to run")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_S) == 0
    finally:
        worker.kill()
        worker.wait()


def test_a_look_that_took_its_whole_interval_leaves_the_worker_to_the_jobs(database_url: str) -> None:
    """The next one that waits in the queue already is skipped: it would come before every job, again and again."""
    app, now = Celery(set_as_current=False), 0.0
    tasks.register(app, database_url, {}, Schedules(), every_s=10, clock=lambda: now)
    look = app.tasks[tasks.SEND_DUE]
    assert [look(), look()] == [0, None]
    now = 5.0
    assert look() == 0


def test_the_flush_is_scheduled_each_minute() -> None:
    """The schedule names a task that exists, and a run that nobody took does not pile up."""
    app = create_app("redis://localhost:1", "sqlite+aiosqlite:///unused.db")
    assert app.conf.beat_schedule["flush-key-uses"]["schedule"] == 60
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
        assert entry["options"]["expires"] <= entry["schedule"]
