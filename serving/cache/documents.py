"""Documents that cost more to make than to keep: a person's statistics and recommendations, lists of genres.

Each person's are one hash in Redis, so that one command erases them; what is old is made again. While Redis is away
they are made each time. It does not know what is in them.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson
from redis.asyncio import Redis

from serving.errors import CacheAway
from serving.protocol.owner import owner_of, owners_of
from serving.resilience.redis import AWAY
from storage.memory.owner import Owner

log = logging.getLogger(__name__)
PREFIX = "bondhu:documents:"
KEEP_S = 86_400  # the longest that one is used
EVERYBODY = Owner("", "")


class DocumentCache:
    """The cache; an `ErasureTarget`.

    Args:
        redis: answers in bytes.
        now: the time, aware.

    """

    def __init__(self, redis: Redis, now: Callable[[], datetime]) -> None:
        self._redis = redis
        self._now = now

    async def get(self, owner: Owner, name: str, ttl_s: float, make: Callable[[], Awaitable[Any]]) -> Any:
        """The document of this name, at most `ttl_s` old; made if it has to be."""
        key = PREFIX + owner_of(owner.app, owner.user)
        try:
            kept = await self._redis.hget(key, name)
        except AWAY as problem:
            log.info("a document is made, for Redis is away: %r", problem)
            return await make()
        if kept is not None:
            at_s, document = orjson.loads(kept)
            if self._now().timestamp() - at_s < ttl_s:
                return document
        document = await make()
        stored = orjson.dumps([self._now().timestamp(), document])
        try:
            await self._redis.hset(key, name, stored)
            await self._redis.expire(key, KEEP_S)
        except AWAY as problem:
            log.info("a document is not kept, for Redis is away: %r", problem)
        return orjson.loads(stored)[1]

    async def drop(self, owner: Owner) -> None:
        """Have all of a person's made again; nothing while Redis is away."""
        try:
            await self._redis.delete(PREFIX + owner_of(owner.app, owner.user))
        except AWAY as problem:
            log.info("documents are kept until they are old, for Redis is away: %r", problem)

    async def forget(self, whom: Owner | str) -> None:
        """See `memory.erasure.ErasureTarget`; raises CacheAway."""
        try:
            if keys := await self._keys(whom):
                await self._redis.delete(*keys)
        except AWAY as problem:
            raise CacheAway from problem

    async def count(self, whom: Owner | str) -> int:
        """See `memory.erasure.ErasureTarget`; raises CacheAway."""
        try:
            keys = await self._keys(whom)
            return int(await self._redis.exists(*keys)) if keys else 0
        except AWAY as problem:
            raise CacheAway from problem

    async def _keys(self, whom: Owner | str) -> list[Any]:
        if isinstance(whom, Owner):
            return [PREFIX + owner_of(whom.app, whom.user)]
        return [key async for key in self._redis.scan_iter(PREFIX + owners_of(whom) + "*")]
