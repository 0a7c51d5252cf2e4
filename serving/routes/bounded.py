"""Routes whose JSON body FastAPI reads into a model, within a bound: what is too large is refused before it is held."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import Message

from serving.config_schema import Settings
from serving.routes.body import read_bytes
from serving.state import gateway_of


class BoundedRoute(APIRoute):
    """Takes bodies of at most `gateway.max_body_bytes`; raises BodyTooLarge."""

    def most_bytes(self, settings: Settings) -> int:
        """How many bytes a body may have."""
        return settings.gateway.max_body_bytes

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, given a body that has been read."""
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            gateway = await gateway_of(request)
            body = await read_bytes(request, self.most_bytes(gateway.settings))
            received: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> Message:
                return received.pop() if received else await request.receive()

            return await handle(Request(request.scope, receive))

        return handle_bounded
