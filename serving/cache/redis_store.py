"""Kept answers in Redis: of each owner one hash, whose fields expire one by one and are forgotten all at once.

A hash has no expiry of its fields, so the sorted set `due` has the instant of each, by the server's clock. A field is
an answer, or a row of fixed-size records to which one is added in front (`serving.cache.semantic` says what they are).
Forgetting deletes both and changes the owner's `era`; what was being generated meanwhile was begun in another era and
is not kept. Redis may evict any of them: an answer without its instant is gone.

Redis may also be away. Nobody waits for it longer than `timeout_s`, nor at all once it has failed a few times;
`run` finds out when it is back. What Redis refuses (it is full) it refuses at once: that is no outage.
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

PREFIX = "bondhu:answers:1:"  # the number changes with what the values are
PROBE_S = 1.0
AT_ONCE = 32  # calls to Redis; one takes well under a millisecond, and has a connection meanwhile
ERA_S = 3600  # longer than any request: an era matters to those that are under way when it ends

Given = ParamSpec("Given")

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
    """What a look brought: the owner's era, and the value of each field asked for, None where there is none."""

    era: bytes
    values: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A field to be kept; with `row_bytes` the value is added in front of what is there, cut to so many bytes."""

    field: bytes
    value: bytes
    ttl_s: float
    row_bytes: int = 0


class ResponseStore:
    """Finds, keeps and forgets.

    Args:
        redis: a client that answers in bytes and never tries twice.
        max_fields: of one owner; beyond, what would expire next goes.
        timeout_s: for one call to Redis.
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
        """The owner's era and these fields; None when Redis does not answer."""
        answer = None if self.breaker.is_open else await self._ask(self._find, _keys(owner), fields)
        return None if answer is None else Found(answer[0], tuple(answer[1:]))

    async def keep(self, owner: str, era: bytes, items: Sequence[Item]) -> bool:
        """Keep all of `items`, unless the owner's era is another by now; whether they were kept."""
        given: list[bytes | int] = [era, self._max_fields]
        for item in items:
            given += [item.field, item.value, round(item.ttl_s * 1000), item.row_bytes]
        return not self.breaker.is_open and bool(await self._ask(self._keep, _keys(owner), given))

    async def forget(self, owner: str, era: str) -> None:
        """Delete all that is kept for the owner, whose next era is `era`; raises what is in AWAY."""
        answers, due, era_key = _keys(owner)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(era_key, era, ex=ERA_S)
            pipe.unlink(answers, due)
            await pipe.execute()

    async def forget_all(self, owners: str, era: Callable[[], str]) -> None:
        """`forget` every owner whose name begins with `owners`: looks at all keys, so it is for rare occasions."""
        async for owner in self._owners(owners):
            await self.forget(owner, era())

    async def count(self, owner: str) -> int:
        """How many fields are kept for the owner; raises what is in AWAY."""
        return int(await self._redis.hlen(_keys(owner)[0]))

    async def count_all(self, owners: str) -> int:
        """How many are kept for every owner whose name begins with `owners`; raises what is in AWAY."""
        return sum([await self.count(owner) async for owner in self._owners(owners)])

    async def _owners(self, begin: str) -> AsyncIterator[str]:
        async for key in self._redis.scan_iter(match=f"{PREFIX}{{{begin}*}}:answers", count=1000):
            yield key.decode().removeprefix(PREFIX + "{").removesuffix("}:answers")

    async def run(self) -> None:
        """While Redis is away, look whether it is back, until cancelled."""
        while True:
            await asyncio.sleep(PROBE_S)
            if self.breaker.is_open and await self._ask(self._redis.ping):
                self.breaker.close()

    async def _ask(self, call: Callable[Given, Awaitable[Any]], *args: Given.args, **kwargs: Given.kwargs) -> Any:
        """What Redis answers; None when it refuses, or does not answer."""
        began = self._clock()
        try:
            async with answer_within(self._timeout_s), self._slots:
                answer = await call(*args, **kwargs)
        except ResponseError as refusal:
            log.debug("answers: %s", refusal)
            return None
        except AWAY as problem:
            self.breaker.failed(problem, began)
            return None
        self.breaker.succeeded()
        return answer


def _keys(owner: str) -> list[str]:
    return [f"{PREFIX}{{{owner}}}:{name}" for name in ("answers", "due", "era")]
