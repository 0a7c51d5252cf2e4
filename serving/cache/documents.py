"""Caches documents that are expensive to make: a person's statistics and recommendations, lists of genres.

The documents of a person are one hash in Redis, so one command erases them. While Redis is unavailable, documents are
made for each request. This module does not know their contents.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson

from serving.protocol.owner import owner_of, owners_of
from serving.resilience.redis import AWAY, ERASE_TIMEOUT_S, GuardedRedis, erasing
from storage.memory.owner import Owner

log = logging.getLogger(__name__)
PREFIX = "bondhu:documents:"
KEEP_S = 86_400  # longest lifetime of a document
EVERYBODY = Owner("", "")


class DocumentCache:
    """The document cache; an `ErasureTarget`.

    Args:
        redis: Redis, guarded.
        now: the time, aware.

    """

    def __init__(self, redis: GuardedRedis, now: Callable[[], datetime]) -> None:
        self._redis = redis
        self._now = now

    async def get(self, owner: Owner, name: str, ttl_s: float, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return the document of this name, at most `ttl_s` old; makes it if necessary."""
        key = PREFIX + owner_of(owner.app, owner.user)
        try:
            async with self._redis.calling():
                cached: Any = await self._redis.client.hget(key, name)
        except AWAY as problem:
            log.info("a document is not read from the cache, because Redis is unavailable: %r", problem)
            return await make()
        if cached is not None:
            at_s, document = orjson.loads(cached)
            if self._now().timestamp() - at_s < ttl_s:
                return document
        document = await make()
        stored = orjson.dumps([self._now().timestamp(), document])
        try:
            async with self._redis.calling():
                await self._redis.client.hset(key, name, stored)
                await self._redis.client.expire(key, KEEP_S)
        except AWAY as problem:
            log.info("a document is not cached, because Redis is unavailable: %r", problem)
        return orjson.loads(stored)[1]

    async def drop(self, owner: Owner) -> None:
        """Drop a person's documents; without effect while Redis is unavailable."""
        try:
            async with self._redis.calling():
                await self._redis.client.delete(PREFIX + owner_of(owner.app, owner.user))
        except AWAY as problem:
            log.info("documents stay cached until they expire, because Redis is unavailable: %r", problem)

    async def forget(self, whom: Owner | str) -> None:
        """See `memory.erasure.ErasureTarget`; raises CacheAway."""
        with erasing():
            async with self._redis.probing(ERASE_TIMEOUT_S):
                if keys := await self._keys(whom):
                    await self._redis.client.delete(*keys)

    async def count(self, whom: Owner | str) -> int:
        """See `memory.erasure.ErasureTarget`; raises CacheAway."""
        with erasing():
            async with self._redis.probing(ERASE_TIMEOUT_S):
                keys = await self._keys(whom)
                return int(await self._redis.client.exists(*keys)) if keys else 0

    async def _keys(self, whom: Owner | str) -> list[Any]:
        if isinstance(whom, Owner):
            return [PREFIX + owner_of(whom.app, whom.user)]
        return [key async for key in self._redis.client.scan_iter(PREFIX + owners_of(whom) + "*")]
