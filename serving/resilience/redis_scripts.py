"""Runs Lua scripts in Redis over one connection, with any number of calls in flight, for the request path.

redis-py takes a connection out of a pool for every call and costs more processor time than the rest of a request
(docs/benchmarks.md). Replies come in the order of the calls, so one connection is enough for all of them
(https://redis.io/docs/latest/develop/using-commands/pipelining/). A call has no timeout of its own: its caller cancels
it, and its reply is dropped. It does not know what the scripts do.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis import exceptions

from serving.resilience.resp import Replies, packed

CONNECT_TIMEOUT_S = 1.0
STALE_S = 1.0


class ScriptConnection:
    """The connection of one client; it is opened by the first call, and again after it was lost.

    Args:
        options: redis-py's keyword arguments of a connection.
        stale_s: a connection whose oldest call waits for longer is replaced.

    """

    def __init__(self, options: Mapping[str, Any], stale_s: float = STALE_S) -> None:
        self._options = options
        self._stale_s = stale_s
        self._open: _Connection | None = None
        self._opening: asyncio.Task[_Connection] | None = None

    async def call(self, *command: Any) -> Any:
        """The reply to a command; raises redis.exceptions.RedisError and OSError."""
        connection = self._open
        if connection is None or not connection.is_usable(self._stale_s):
            connection = await self._opened()
        return await connection.call(command)

    def close(self) -> None:
        """Close the connection."""
        if self._opening is not None:
            self._opening.cancel()
        if self._open is not None:
            self._open.close()

    async def _opened(self) -> "_Connection":
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._has_opened)
        return await asyncio.shield(self._opening)

    def _has_opened(self, task: "asyncio.Task[_Connection]") -> None:
        self._opening = None
        if not task.cancelled() and task.exception() is None:
            self._open = task.result()

    async def _connect(self) -> "_Connection":
        if self._open is not None:
            self._open.close()
        options, loop = self._options, asyncio.get_running_loop()

        def make() -> _Connection:
            return _Connection(loop)

        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if path := options.get("path"):
                _, connection = await loop.create_unix_connection(make, path)
            else:
                _, connection = await loop.create_connection(make, options["host"], options["port"])
            try:
                if password := options.get("password"):
                    await connection.call(("AUTH", options.get("username") or "default", password))
                if database := options.get("db"):
                    await connection.call(("SELECT", database))
            except BaseException:
                connection.close()
                raise
        return connection


class Script:
    """A script; called with its keys and arguments, it returns its result and raises like `ScriptConnection.call`."""

    def __init__(self, connection: ScriptConnection, text: str) -> None:
        self._connection = connection
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[Any] = (), args: Sequence[Any] = ()) -> Any:
        """Run it."""
        try:
            return await self._connection.call("EVALSHA", self._digest, len(keys), *keys, *args)
        except exceptions.NoScriptError:
            return await self._connection.call("EVAL", self._text, len(keys), *keys, *args)


class _Connection(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._replies = Replies()
        self._transport: asyncio.Transport | None = None
        self._calls: deque[tuple[float, asyncio.Future[Any]]] = deque()  # in flight, and since when
        self._unsent: list[bytes] = []

    def is_usable(self, stale_s: float) -> bool:
        """Whether it is open and answers."""
        if self._transport is None:
            return False
        return not self._calls or self._loop.time() - self._calls[0][0] < stale_s

    async def call(self, command: tuple[Any, ...]) -> Any:
        """The reply to a command."""
        if self._transport is None:
            raise exceptions.ConnectionError("Redis closed the connection.")
        reply: asyncio.Future[Any] = self._loop.create_future()
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(packed(command))
        self._calls.append((self._loop.time(), reply))
        return await reply

    def _send(self) -> None:
        """Send what was called since the loop's last turn, in one system call."""
        unsent, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(b"".join(unsent))

    def close(self) -> None:
        """Close it; calls in flight fail."""
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Hand replies to their callers."""
        try:
            for reply in self._replies.feed(data):
                _, waiting = self._calls.popleft()
                if waiting.done():
                    continue  # its caller was cancelled
                if isinstance(reply, Exception):
                    waiting.set_exception(reply)
                else:
                    waiting.set_result(reply)
        except (exceptions.InvalidResponse, IndexError, ValueError):  # not Redis, or out of step
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls in flight."""
        self._transport = None
        calls, self._calls = self._calls, deque()
        for _, waiting in calls:
            if not waiting.done():
                waiting.set_exception(exceptions.ConnectionError(f"The connection to Redis was lost: {exc!r}."))
