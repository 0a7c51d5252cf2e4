"""Cached responses in Redis: one hash per owner, whose fields expire one by one and can be deleted together.

Fields of a hash do not expire by themselves, so the sorted set `due` has the expiry of each, by the server's clock. A
field is a response, or a row of fixed-size records to which new ones are prepended (see `serving.cache.semantic`).
Forgetting an owner deletes both and changes the owner's `era`; a response whose generation began in an earlier era is
not stored. Redis may evict any of these keys: a response without an expiry counts as gone.

While Redis is unavailable nothing is found or stored. An error reply (such as out of memory) is not an outage: its
guard must tolerate a ResponseError. Documents of agents are stored in the same way, under another prefix
(`serving.cache.agent_sessions`).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.resilience.redis import AWAY, ERASE_TIMEOUT_S, GuardedRedis

log = logging.getLogger(__name__)

PREFIX = "bondhu:answers:1:"  # the number is the version of the values' format
ERA_S = 3600  # longer than any request: an era only matters to requests that are running when it ends

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
        redis: Redis, guarded for the cache.
        max_fields: maximum fields of an owner; above that, the next to expire is deleted.
        prefix: of its keys.

    """

    def __init__(self, redis: GuardedRedis, *, max_fields: int, prefix: str = PREFIX) -> None:
        self.redis = redis
        self._prefix = prefix
        self._client = redis.client
        self._max_fields = max_fields
        self._find = redis.client.register_script(_FIND)
        self._keep = redis.client.register_script(_KEEP)

    async def find(self, owner: str, fields: Sequence[bytes]) -> Found | None:
        """The owner's era and these fields; None if Redis is unavailable."""
        try:
            async with self.redis.calling():
                era, *values = await self._find(self._keys(owner), fields)
        except AWAY as problem:
            log.debug("answers: %s", problem)
            return None
        return Found(era, tuple(values))

    async def keep(self, owner: str, era: bytes, items: Sequence[Item]) -> bool:
        """Store `items` unless the owner's era has changed; returns whether they were stored."""
        arguments: list[bytes | int] = [era, self._max_fields]
        for item in items:
            arguments += [item.field, item.value, round(item.ttl_s * 1000), item.row_bytes]
        try:
            async with self.redis.calling():
                return bool(await self._keep(self._keys(owner), arguments))
        except AWAY as problem:
            log.debug("answers: %s", problem)
            return False

    async def forget(self, owner: str, era: str) -> None:
        """Delete all responses of the owner and start the era `era`; raises the exceptions in AWAY."""
        answers, due, era_key = self._keys(owner)
        async with self.redis.probing(ERASE_TIMEOUT_S), self._client.pipeline(transaction=True) as pipe:
            pipe.set(era_key, era, ex=ERA_S)
            pipe.unlink(answers, due)
            await pipe.execute()

    async def forget_all(self, owners: str, era: Callable[[], str]) -> None:
        """`forget` every owner with the prefix `owners`; it scans all keys, so it should be rare."""
        for owner in await self._owners(owners):
            await self.forget(owner, era())

    async def count(self, owner: str) -> int:
        """The number of fields of the owner; raises the exceptions in AWAY."""
        async with self.redis.probing(ERASE_TIMEOUT_S):
            return int(await self._client.hlen(self._keys(owner)[0]))

    async def count_all(self, owners: str) -> int:
        """The number of fields of all owners with the prefix `owners`; raises the exceptions in AWAY."""
        return sum([await self.count(owner) for owner in await self._owners(owners)])

    async def _owners(self, begin: str) -> list[str]:
        async with self.redis.probing(ERASE_TIMEOUT_S):
            keys = [key async for key in self._client.scan_iter(f"{self._prefix}{{{begin}*}}:answers", count=1000)]
        return [key.decode().removeprefix(self._prefix + "{").removesuffix("}:answers") for key in keys]

    def _keys(self, owner: str) -> list[str]:
        return [f"{self._prefix}{{{owner}}}:{name}" for name in ("answers", "due", "era")]
