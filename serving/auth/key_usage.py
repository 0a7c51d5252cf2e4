"""When keys were last used: noted in memory, handed to Redis now and then, written to SQL by a Celery task."""

import asyncio
import logging
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

REDIS_HASH = "bondhu:key-used"
FLUSH_S = 10.0


class KeyUsage:
    """Collects uses; `run` flushes them. A Redis that is away costs nothing but a later `last_used_at`."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._noted: dict[str, int] = {}

    def note(self, key_id: str) -> None:
        """The key was used now."""
        self._noted[key_id] = int(time.time())

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Hand what was noted to Redis; keeps it when Redis does not take it."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._redis.hset(REDIS_HASH, mapping={key: str(at) for key, at in noted.items()})
        except (RedisError, OSError) as problem:
            log.debug("key uses not flushed: %s", problem)
            self._noted = noted | self._noted
