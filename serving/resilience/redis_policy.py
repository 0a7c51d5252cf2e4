"""A Redis that may lose the queue is refused: its eviction policy would throw away tasks and limits when it is full.

One server has one policy for all that it keeps. `volatile-*` takes what has an end, which here is what is cache;
`allkeys-*` takes anything, and a queue is a key like any other. INFO is asked and not CONFIG, which hosts switch off.
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
    """Return the policy of the server there; None when it does not answer within `wait_s`, or does not say."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            with Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5) as redis:
                told = cast(dict[str, Any], redis.info("memory"))
                return str(told["maxmemory_policy"]) if "maxmemory_policy" in told else None
        except (Unreachable, TooSlow):
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_S)
        except RedisError:  # it answers, and does not say: a host's own rules
            return None


def refusal(policy: str | None) -> str | None:
    """Say why a server with this policy cannot be used; None: it can."""
    if policy is None or not policy.startswith(LOSES_THE_QUEUE):
        return None
    return (
        f"Redis evicts by {policy}, which throws away queued jobs and limits when it is full. Set maxmemory-policy to "
        "volatile-lru (everything that is cache has an end) or noeviction: redis-server --maxmemory-policy volatile-lru"
    )
