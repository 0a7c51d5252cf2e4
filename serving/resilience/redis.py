"""Redis clients, and the exceptions that they raise while Redis is unavailable."""

from typing import Any

from redis.asyncio import Connection, Redis, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from serving.resilience.redis_scripts import Script, ScriptConnection

AWAY = (RedisError, OSError, TimeoutError)  # a full or loading Redis returns errors: it counts as unavailable


class GatewayRedis(Redis):
    """redis-py's client; its scripts share one connection (`serving.resilience.redis_scripts`)."""

    _scripts: ScriptConnection | None = None

    def register_script(self, script: Any) -> Any:
        """A callable that runs the script; over TLS it is redis-py's own."""
        pool = self.connection_pool
        if pool.connection_class not in (Connection, UnixDomainSocketConnection):
            return super().register_script(script)
        self._scripts = self._scripts or ScriptConnection(pool.connection_kwargs)
        return Script(self._scripts, script)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        if self._scripts is not None:
            self._scripts.close()
        await super().aclose(close_connection_pool)


def open_redis(url: str, *, decodes: bool = True) -> "Redis":
    """Open a client without retries and timeouts (callers set their own); `decodes`: return text instead of bytes."""
    return GatewayRedis.from_url(
        url,
        max_connections=10_000,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        decode_responses=decodes,
    )
