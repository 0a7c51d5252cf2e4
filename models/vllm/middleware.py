"""Checks the engine's key on every request: ASGI middleware that vLLM's own server loads (`--middleware`).

vLLM's `--api-key` protects only paths under /v1, but an engine on a cluster address also serves /metrics, /tokenize,
/invocations and more. Here every path but /health requires the key, which is generated at each start and passed in the
environment.
"""

import os
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from models.engine_log import HEADER, log_request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADER = HEADER.encode()
_BODY = b'{"error":{"message":"This engine requires its own key.","type":"authentication_error","code":401}}'


class RequireKey:
    """Answers 401 to an HTTP or WebSocket request without `Authorization: Bearer $BONDHU_ENGINE_KEY`."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._expected = b"Bearer " + os.environ["BONDHU_ENGINE_KEY"].encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or scope.get("path") == "/health":
            await self._app(scope, receive, send)
        elif self._admits(scope):
            began_s = time.monotonic()
            try:
                await self._app(scope, receive, send)
            finally:
                if (request_id := _request_id(scope)) is not None:
                    log_request(request_id, scope.get("path", ""), time.monotonic() - began_s)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401})
        else:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})

    def _admits(self, scope: Scope) -> bool:
        return any(
            name == b"authorization" and secrets.compare_digest(value, self._expected)
            for name, value in scope.get("headers", ())
        )


def _request_id(scope: Scope) -> str | None:
    """The request id from the gateway; None for the gateway's probes."""
    return next((value.decode("latin-1") for name, value in scope.get("headers", ()) if name == _HEADER), None)
