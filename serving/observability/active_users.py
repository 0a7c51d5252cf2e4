"""Counts the people who used the service in the last minutes, over all workers and machines, in bounded memory.

Each minute has a HyperLogLog in Redis (12 kB, error 0.81 %: Flajolet et al. 2007), and their union is counted. A
worker collects a bounded set and flushes it periodically, so no request waits for Redis. No name is stored.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from serving.resilience.redis import AWAY, GuardedRedis

log = logging.getLogger(__name__)

KEY = "bondhu:active-users:{minute}"
WINDOW_MINUTES = 5
KEEP_S = 60 * (WINDOW_MINUTES + 2)
FLUSH_S = 5.0
MAX_NOTED = 10_000  # users of a worker between two flushes; above that, users are not counted


class ActiveUsers:
    """Notes active users; `run` flushes them to Redis. While Redis is unavailable, some users may not be counted.

    Args:
        redis: Redis, guarded.
        user_hash: keyed hash of (app, user).
        wall: Unix seconds.

    """

    def __init__(
        self, redis: GuardedRedis, user_hash: Callable[[str, str], str], wall: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._user_hash = user_hash
        self._wall = wall
        self._noted: set[bytes] = set()

    def note(self, app: str, user: str | None) -> None:
        """Note that an end user of `app` (or the application itself) made a request now."""
        if len(self._noted) < MAX_NOTED:
            self._noted.add(bytes.fromhex(self._user_hash(app, user or "")))

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Send the noted users to Redis; they are dropped if Redis fails."""
        noted, self._noted = self._noted, set()
        if not noted:
            return
        key = self._keys()[0]
        try:
            async with self._redis.calling(), self._redis.client.pipeline(transaction=False) as pipe:
                pipe.pfadd(key, *noted)
                pipe.expire(key, KEEP_S)
                await pipe.execute()
        except AWAY as problem:
            log.debug("active users not flushed: %s", problem)

    async def count(self) -> int:
        """The number of users in this minute and the four before; raises what is in AWAY."""
        async with self._redis.calling():
            return int(await self._redis.client.pfcount(*self._keys()))

    def _keys(self) -> list[str]:
        minute = int(self._wall() // 60)
        return [KEY.format(minute=minute - ago) for ago in range(WINDOW_MINUTES)]
