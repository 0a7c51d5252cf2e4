"""Routes with a pydantic body, which is read within limits and only after authentication.

By default FastAPI reads the body before it resolves dependencies such as the API key; here unauthenticated bodies are
not read. FastAPI's parser, Python's own, also accepts invalid JSON that cannot be stored (NaN, lone surrogates), so the
body is checked with a strict parser first.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import Message

from serving.routes.body import check_json, read_bytes
from serving.routes.dependencies import caller_of, gateway_of
from serving.routes.json_values import MODELLED, check_values


class BoundedRoute(APIRoute):
    """Accepts bodies of at most `gateway.max_body_bytes` from authenticated clients; see `caller_of`, `read_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler with a body that has been read already."""
        handle = super().get_route_handler()

        async def handle_bounded(http_request: Request) -> Response:
            gateway = await gateway_of(http_request)
            await caller_of(http_request, gateway)
            body = await read_bytes(http_request, gateway.settings.gateway.max_body_bytes)
            if body:
                await check_values(body, MODELLED)
                check_json(body)
            received: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> Message:
                return received.pop() if received else await http_request.receive()

            return await handle(Request(http_request.scope, receive))

        return handle_bounded
