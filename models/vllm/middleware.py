"""The lock on an engine's door: ASGI middleware that vLLM's own server loads (`--middleware`).

vLLM's `--api-key` guards only paths under /v1; an engine on a cluster address also offers /metrics, /tokenize,
/invocations and more. Here every path but GET /health wants the key of this boot, from the environment.
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
_BODY = b'{"error":{"message":"this engine answers only its own service","type":"authentication_error","code":401}}'


class RequireKey:
    """Answers 401 to an HTTP or WebSocket request without `Authorization: Bearer $BONDHU_ENGINE_KEY`."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._expected = b"Bearer " + os.environ["BONDHU_ENGINE_KEY"].encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a connection through, or refuse it."""
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
    """The gateway's id of the request; its probes have none."""
    return next((value.decode("latin-1") for name, value in scope.get("headers", ()) if name == _HEADER), None)
