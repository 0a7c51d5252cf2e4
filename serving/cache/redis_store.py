"""Cached responses in Redis: one hash per owner, whose fields expire one by one and can be deleted together.

Fields of a hash do not expire by themselves, so the sorted set `due` has the expiry of each, by the server's clock. A
field is a response, or a row of fixed-size records to which new ones are prepended (see `serving.cache.semantic`).
Forgetting an owner deletes both and changes the owner's `era`; a response whose generation began in an earlier era is
not stored. Redis may evict any of these keys: a response without an expiry counts as gone.

Calls to Redis have the timeout `timeout_s`, and after a few failures Redis is not called until `run` finds that it is
back. An error reply (such as out of memory) is not an outage.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from serving.resilience.breaker import Breaker
from serving.resilience.deadline import answer_within
from serving.resilience.redis import AWAY

log = logging.getLogger(__name__)

PREFIX = "bondhu:answers:1:"  # the number is the version of the values' format
PROBE_S = 1.0
AT_ONCE = 32  # concurrent calls to Redis, each with a connection; a call takes well under a millisecond
ERA_S = 3600  # longer than any request: an era only matters to requests that are running when it ends

Params = ParamSpec("Params")

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
# KEYS: answers, due, era. ARGV: fields. Answers the era and the fields' values.
_FIND = (
    _NOW
    + """
local found = {redis.call('GET', KEYS[3]) or ''}
for index, field in ipairs(ARGV) do
  local due = redis.call('ZSCORE', KEYS[2], field)
  found[index + 1] = due and tonumber(due) > now and redis.call('HGET', KEYS[1], field)
end
return found
"""
)
# KEYS: answers, due, era. ARGV: era, the most fields, then for each: field, value, ttl in ms, and the most bytes of a
# row to which the value is added in front (0: the value replaces what there was). Answers 1 when they were kept.
_KEEP = (
    _NOW
    + """
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[1] then return 0 end
for index = 3, #ARGV, 4 do
  local field, value, ttl, most = ARGV[index], ARGV[index + 1], ARGV[index + 2], tonumber(ARGV[index + 3])
  if most > 0 then
    local due = redis.call('ZSCORE', KEYS[2], field)
    local row = due and tonumber(due) > now and redis.call('HGET', KEYS[1], field) or ''
    value = string.sub(value .. row, 1, most)
  end
  redis.call('HSET', KEYS[1], field, value)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ttl), field)
end
local kept = redis.call('ZCARD', KEYS[2])
if kept ~= redis.call('HLEN', KEYS[1]) then -- Redis evicted one of the two
  redis.call('DEL', KEYS[1], KEYS[2])
  return 0
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
if kept - #gone > tonumber(ARGV[2]) then -- what would expire next goes at once
  gone = redis.call('ZRANGE', KEYS[2], 0, kept - ARGV[2] - 1)
end
for _, field in ipairs(gone) do
  redis.call('HDEL', KEYS[1], field)
  redis.call('ZREM', KEYS[2], field)
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], last)
redis.call('PEXPIREAT', KEYS[2], last)
return 1
"""
)


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a lookup: the owner's era, and the value of each requested field or None."""

    era: bytes
    values: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A field to store; with `row_bytes` the value is prepended to the existing one, cut to that many bytes."""

    field: bytes
    value: bytes
    ttl_s: float
    row_bytes: int = 0


class ResponseStore:
    """Finds, stores and deletes cached responses.

    Args:
        redis: a client that returns bytes and does not retry.
        max_fields: maximum fields of an owner; above that, the next to expire is deleted.
        timeout_s: timeout of one call to Redis.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        redis: "Redis",
        *,
        max_fields: int,
        timeout_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaker = Breaker("Redis, for answers,", clock=clock)
        self._redis = redis
        self._max_fields = max_fields
        self._timeout_s = timeout_s
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._find = redis.register_script(_FIND)
        self._keep = redis.register_script(_KEEP)

    async def find(self, owner: str, fields: Sequence[bytes]) -> Found | None:
        """The owner's era and these fields; None if Redis is unavailable."""
        result = None if self.breaker.is_open else await self._ask(self._find, _keys(owner), fields)
        return None if result is None else Found(result[0], tuple(result[1:]))

    async def keep(self, owner: str, era: bytes, items: Sequence[Item]) -> bool:
        """Store `items` unless the owner's era has changed; returns whether they were stored."""
        arguments: list[bytes | int] = [era, self._max_fields]
        for item in items:
            arguments += [item.field, item.value, round(item.ttl_s * 1000), item.row_bytes]
        return not self.breaker.is_open and bool(await self._ask(self._keep, _keys(owner), arguments))

    async def forget(self, owner: str, era: str) -> None:
        """Delete all responses of the owner and start the era `era`; raises the exceptions in AWAY."""
        answers, due, era_key = _keys(owner)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(era_key, era, ex=ERA_S)
            pipe.unlink(answers, due)
            await pipe.execute()

    async def forget_all(self, owners: str, era: Callable[[], str]) -> None:
        """`forget` every owner with the prefix `owners`; it scans all keys, so it should be rare."""
        async for owner in self._owners(owners):
            await self.forget(owner, era())

    async def count(self, owner: str) -> int:
        """The number of fields of the owner; raises the exceptions in AWAY."""
        return int(await self._redis.hlen(_keys(owner)[0]))

    async def count_all(self, owners: str) -> int:
        """The number of fields of all owners with the prefix `owners`; raises the exceptions in AWAY."""
        return sum([await self.count(owner) async for owner in self._owners(owners)])

    async def _owners(self, begin: str) -> AsyncIterator[str]:
        async for key in self._redis.scan_iter(match=f"{PREFIX}{{{begin}*}}:answers", count=1000):
            yield key.decode().removeprefix(PREFIX + "{").removesuffix("}:answers")

    async def run(self) -> None:
        """While Redis is unavailable, probe it, until cancelled."""
        while True:
            await asyncio.sleep(PROBE_S)
            if self.breaker.is_open and await self._ask(self._redis.ping):
                self.breaker.close()

    async def _ask(
        self, operation: Callable[Params, Awaitable[Any]], *args: Params.args, **kwargs: Params.kwargs
    ) -> Any:
        """The result of a call to Redis; None if it fails."""
        began = self._clock()
        try:
            async with answer_within(self._timeout_s), self._slots:
                result = await operation(*args, **kwargs)
        except ResponseError as refusal:
            log.debug("answers: %s", refusal)
            return None
        except AWAY as problem:
            self.breaker.failed(problem, began)
            return None
        self.breaker.succeeded()
        return result


def _keys(owner: str) -> list[str]:
    return [f"{PREFIX}{{{owner}}}:{name}" for name in ("answers", "due", "era")]
