"""When keys were last used: noted in memory, flushed to Redis periodically, written to SQL by a Celery task."""

import asyncio
import logging
import time

from serving.resilience.redis import AWAY, GuardedRedis

log = logging.getLogger(__name__)

REDIS_HASH = "bondhu:key-used"
FLUSH_S = 10.0


class KeyUsage:
    """Collects uses of keys; `run` flushes them. While Redis is unavailable, `last_used_at` is only updated later."""

    def __init__(self, redis: GuardedRedis) -> None:
        self._redis = redis
        self._noted: dict[str, int] = {}

    def note(self, key_id: str) -> None:
        """Note that the key was used now."""
        self._noted[key_id] = int(time.time())

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Send the noted uses to Redis; they are kept if Redis fails."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            async with self._redis.calling():
                await self._redis.client.hset(REDIS_HASH, mapping={key: str(at) for key, at in noted.items()})
        except AWAY as problem:
            log.debug("key uses not flushed: %s", problem)
            self._noted = noted | self._noted
