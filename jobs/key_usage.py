"""The tasks of key usage. Each may run twice, or again after a crash, with the same result."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from celery import Celery
from redis import Redis

from storage.api_keys import note_uses
from storage.database import open_engine

KEY_USED = "bondhu:key-used"  # hash: key id -> Unix seconds; written by the gateway (serving.auth.key_usage)

# Delete a field only if it still holds what was read: a use noted meanwhile stays for the next run.
_FORGET_UNCHANGED = """
local gone = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return gone
"""


@dataclass(frozen=True, slots=True)
class TaskNames:
    """The registered names, for the schedule."""

    flush_key_uses: str


def register(app: Celery, redis_url: str, database_url: str) -> TaskNames:
    """Add the tasks to `app`, bound to these services."""

    def flush() -> int:
        with Redis.from_url(redis_url) as redis:
            return flush_key_uses(redis, database_url)

    flush_task = app.task(name="jobs.flush_key_uses", shared=False)(flush)
    return TaskNames(flush_task.name)


def flush_key_uses(redis: Redis, database_url: str) -> int:
    """Move the times of last key use from Redis into SQL; returns how many entries are done.

    SQL is written before Redis is cleared: a crash in between repeats an update that changes nothing. An entry that is
    not a time is dropped.
    """
    noted = cast(dict[bytes, bytes], redis.hgetall(KEY_USED))
    if not noted:
        return 0
    uses = {key.decode(): at for key, value in noted.items() if (at := _instant(value)) is not None}
    asyncio.run(_write(database_url, uses))
    pairs = [item for pair in noted.items() for item in pair]
    return int(redis.eval(_FORGET_UNCHANGED, 1, KEY_USED, *pairs))


async def _write(database_url: str, uses: dict[str, datetime]) -> None:
    engine = open_engine(database_url)
    try:
        await note_uses(engine, uses)
    finally:
        await engine.dispose()


def _instant(value: bytes) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None
