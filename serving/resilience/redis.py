"""Clients of Redis, and what they raise while it is away."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

AWAY = (RedisError, OSError, TimeoutError)  # a full or loading Redis answers with an error: it is away as well


def open_redis(url: str, *, decodes: bool = True) -> "Redis":
    """Open a client that never tries twice, and whose caller bounds how long it may take; text, or else bytes."""
    return Redis.from_url(
        url,
        max_connections=10_000,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        decode_responses=decodes,
    )
