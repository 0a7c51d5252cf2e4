"""The gateway's way to Redis: one client for a worker, guarded for each part that uses it.

A guard gives every call a timeout, and counts failures: after a few in a row its part does without Redis, at once,
until Redis answers again. Parts have guards of their own, because a full Redis still answers those that only read.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from redis.asyncio import Connection, Redis, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from serving.errors import CacheAway
from serving.resilience.breaker import Breaker
from serving.resilience.redis_scripts import Script, ScriptConnection

AWAY = (RedisError, OSError, TimeoutError)  # a full or loading Redis returns errors: it counts as unavailable
TIMEOUT_S = 0.25  # of a call on the path of a request; a container with a quarter of a CPU pauses for 75 ms at a time
ERASE_TIMEOUT_S = 5.0  # of erasing what a person has in Redis
PROBE_S = 1.0
LOOK_S = 0.001  # such a timer fires in a later pass of the loop, which polls its sockets in between


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


def open_redis(url: str) -> "Redis":
    """Open a client that returns bytes, without retries and timeouts of its own."""
    return GatewayRedis.from_url(
        url,
        max_connections=10_000,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
    )


class GuardedRedis:
    """Redis for one part of the gateway.

    Args:
        client: made by `open_redis`.
        name: of the part, for the log and the metric `bondhu_breaker_open`.
        timeout_s: of one call.
        tolerated: exceptions that do not count as failures.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        client: "Redis",
        name: str = "redis",
        *,
        timeout_s: float = TIMEOUT_S,
        tolerated: tuple[type[Exception], ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.name = name
        self.breaker = Breaker(name, clock=clock)
        self._timeout_s = timeout_s
        self._tolerated = tolerated
        self._clock = clock

    def calling(self, timeout_s: float | None = None) -> "_Call":
        """The context of a call, which raises what is in AWAY: at once while the breaker is open."""
        if self.breaker.is_open:
            raise RedisConnectionError(f"{self.name} is not asked, because it does not answer.")
        return self.probing(timeout_s)

    def probing(self, timeout_s: float | None = None) -> "_Call":
        """The same for work in the background, which also asks while the breaker is open."""
        return _Call(self.breaker, timeout_s or self._timeout_s, self._tolerated, self._clock)

    async def asked(self, query: Callable[["Redis"], Awaitable[Any]], timeout_s: float) -> Any:
        """The result of a query, whatever the breaker says; None if Redis does not answer: for measurements."""
        with suppress(*AWAY):
            async with self.probing(timeout_s):
                return await query(self.client)
        return None

    async def run(self) -> None:
        """While the breaker is open, look whether Redis is back; until cancelled."""
        while True:
            await asyncio.sleep(PROBE_S)
            if self.breaker.is_open:
                with suppress(*AWAY):
                    async with self.probing():
                        await self.client.ping()
                    self.breaker.close()


class _Call:
    """A block that is a call: it raises TimeoutError if it takes too long, and tells the breaker how it ended.

    It expires only after the event loop has polled its sockets once more. The loop of a saturated worker is late: it
    sees the expired timer and the reply, which arrived long ago, in the same pass, and `asyncio.timeout` alone would
    report a fast Redis as unavailable.
    """

    def __init__(
        self,
        breaker: Breaker,
        timeout_s: float,
        tolerated: tuple[type[Exception], ...],
        clock: Callable[[], float],
    ) -> None:
        self._breaker = breaker
        self._timeout_s = timeout_s
        self._tolerated = tolerated
        self._began_s = clock()
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """Start the timer."""
        self._loop = asyncio.get_running_loop()
        await self._limit.__aenter__()
        self._timer = self._loop.call_later(self._timeout_s, self._look)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._timer.cancel()
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as problem:
            self._breaker.failed(problem, self._began_s)
            raise
        if error is None:
            self._breaker.succeeded()
        elif isinstance(error, AWAY) and not isinstance(error, self._tolerated):
            self._breaker.failed(error, self._began_s)

    def _look(self) -> None:
        self._limit.reschedule(self._loop.time() + LOOK_S)


@contextmanager
def erasing() -> Iterator[None]:
    """In this context, an unavailable Redis raises CacheAway."""
    try:
        yield
    except AWAY as problem:
        raise CacheAway from problem
