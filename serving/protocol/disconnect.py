"""Cancels a request's work when its client disconnects.

ASGI only tells whoever waits in `receive`, which takes a task for each request. The server's protocol
(`serving.gateway.http_protocol`) also calls back: its extension WATCH has a function `call` that takes the callback.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from starlette.types import Receive, Scope

WATCH = "bondhu.watch_disconnect"


class Disconnect:
    """In this context the current task is cancelled when the client disconnects, unless `is_over()`.

    Args:
        scope: of the request.
        receive: ASGI's `receive`, after the body was read.
        is_over: whether the response is complete.

    Attributes:
        has_left: the client has disconnected.

    """

    def __init__(self, scope: Scope, receive: Receive, is_over: Callable[[], bool]) -> None:
        self.has_left = False
        extension = scope.get("extensions", {}).get(WATCH)
        self._watch: Callable[[Callable[[], None] | None], None] | None = extension and extension["call"]
        self._receive = receive
        self._is_over = is_over
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        """Start watching."""
        self._task = asyncio.current_task()
        if self._watch is not None:
            self._watch(self._leave)
        else:
            self._waiting = asyncio.create_task(self._wait())
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch(None)
        if self._waiting is not None:
            self._waiting.cancel()

    def absorbs(self) -> bool:
        """Whether the CancelledError that is being handled came from a disconnect; the task then goes on."""
        if self.has_left and self._task is not None:
            self._task.uncancel()
        return self.has_left

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self.has_left = True
        if self._task is not None and not self._is_over():
            self._task.cancel()
