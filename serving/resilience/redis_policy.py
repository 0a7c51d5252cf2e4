"""Refuses a Redis whose eviction policy would drop queued jobs and limits when it is full.

A server has one policy for all keys. `volatile-*` evicts keys with an expiry, which here are caches; `allkeys-*` evicts
any key, also a queue. The policy is read from INFO, because hosted Redis often disables CONFIG.
"""

import time
from typing import Any, cast

from redis import Redis
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TooSlow

LOSES_THE_QUEUE = "allkeys-"
POLL_S = 0.5


def policy_of(redis_url: str, wait_s: float) -> str | None:
    """Return the server's eviction policy; None if it does not respond within `wait_s` or does not report one."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            with Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5) as redis:
                info = cast(dict[str, Any], redis.info("memory"))
                return str(info["maxmemory_policy"]) if "maxmemory_policy" in info else None
        except (Unreachable, TooSlow):
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_S)
        except RedisError:  # the server refuses INFO
            return None


def refusal(policy: str | None) -> str | None:
    """Return why a server with this policy cannot be used; None if it can."""
    if policy is None or not policy.startswith(LOSES_THE_QUEUE):
        return None
    return (
        f"Redis has the eviction policy {policy}, which drops queued jobs and limits when it is full. Set "
        "maxmemory-policy to volatile-lru (which evicts caches only) or noeviction: redis-server --maxmemory-policy "
        "volatile-lru"
    )
