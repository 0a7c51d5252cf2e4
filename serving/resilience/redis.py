"""Redis clients, and the exceptions that they raise while Redis is unavailable."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

AWAY = (RedisError, OSError, TimeoutError)  # a full or loading Redis returns errors: it counts as unavailable


def open_redis(url: str, *, decodes: bool = True) -> "Redis":
    """Open a client without retries and timeouts (callers set their own); `decodes`: return text instead of bytes."""
    return Redis.from_url(
        url,
        max_connections=10_000,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        decode_responses=decodes,
    )
