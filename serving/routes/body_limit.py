"""Routes whose JSON body FastAPI reads into a model, within a bound, once it is known who calls.

FastAPI reads a body before it asks for anything that an endpoint depends on, a key too: a stranger's is not read here.

Python's own parser, which FastAPI uses, takes what is no JSON (NaN, half of a surrogate pair) and nothing downstream
can store; so the body is parsed by a strict one before.
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
    """Takes bodies of at most `gateway.max_body_bytes`, of whoever has a key; raises as `caller_of` and `read_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, given a body that has been read."""
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            gateway = await gateway_of(request)
            await caller_of(request, gateway)
            body = await read_bytes(request, gateway.settings.gateway.max_body_bytes)
            if body:
                await check_values(body, MODELLED)
                check_json(body)
            received: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> Message:
                return received.pop() if received else await request.receive()

            return await handle(Request(request.scope, receive))

        return handle_bounded
