"""Pure ASGI middleware: every reply carries a request id, and whoever watches is told how every request ended."""

import re
import time
import uuid
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.observability import request_context
from serving.observability.request_context import Exchange

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestId:
    """Takes the client's `x-request-id` when it is sane, makes one otherwise; puts it on the reply and in the scope.

    Args:
        app: what answers.
        watchers: called once for each request, when its answer has been sent or has failed.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        app: ASGIApp,
        watchers: Sequence[Callable[[Exchange], None]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._watchers = watchers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex.encode()
        scope["bondhu.request_id"] = request_id.decode()
        seen = Exchange(request_id.decode(), scope["method"], scope["path"])
        scope[request_context.SCOPE_KEY] = seen
        # Not reset at the end: the task is this request's own, and what the server logs of its failure comes later.
        request_context.current.set(seen)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id)]
                seen.status = message["status"]
            await send(message)

        started = self._clock()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            seen.status = seen.status or 500  # what the server answers to a bug
            raise
        finally:
            seen.duration_s = self._clock() - started
            seen.route = getattr(scope.get("route"), "path", "")
            for watch in self._watchers:
                watch(seen)
