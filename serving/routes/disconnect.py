"""Tells a response when its client disconnects.

ASGI only tells whoever waits in `receive`, which takes a task for each request. The server's protocol
(`serving.gateway.http_protocol`) also calls back: its extension WATCH has a function `call` that takes the callback.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope

WATCH = "bondhu.watch_disconnect"


@contextmanager
def on_disconnect(scope: Scope, receive: Receive, callback: Callable[[], None]) -> Iterator[None]:
    """In this context, call `callback` if the client disconnects; `receive` must have returned the whole body."""
    extension = scope.get("extensions", {}).get(WATCH)
    if extension is not None:
        extension["call"](callback)
        try:
            yield
        finally:
            extension["call"](None)
        return
    waiting = asyncio.create_task(_wait(receive, callback))
    try:
        yield
    finally:
        waiting.cancel()


async def _wait(receive: Receive, callback: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    callback()
