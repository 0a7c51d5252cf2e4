"""Pure ASGI middleware: adds a request id to every response, and calls watchers when a request ends."""

import re
import secrets
import time
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.observability import request_context
from serving.observability.request_context import Exchange

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestId:
    """Uses the client's `x-request-id` if it is valid, else a new id; sets it in the response and in the scope.

    Args:
        app: the ASGI application.
        watchers: called once for each request, when its response was sent or failed.
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
        client_id = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = client_id if _SANE.fullmatch(client_id) else secrets.token_hex(16).encode()
        scope["bondhu.request_id"] = request_id.decode()
        exchange = Exchange(request_id.decode(), scope["method"], scope["path"])
        scope[request_context.SCOPE_KEY] = exchange
        # Not reset at the end: the task belongs to this request, and the server logs a failure later.
        request_context.current.set(exchange)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id)]
                exchange.status = message["status"]
            await send(message)

        started = self._clock()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            exchange.status = exchange.status or 500  # the server's response to a bug
            raise
        finally:
            exchange.duration_s = self._clock() - started
            exchange.route = getattr(scope.get("route"), "path", "")
            for watch in self._watchers:
                watch(exchange)
