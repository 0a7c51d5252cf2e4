"""Routes on the token path: part of the OpenAPI document, but served without FastAPI's dependency injection."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Calls `endpoint(request)` and sends its response; nothing is injected or validated.

    FastAPI's overhead would exceed the cost of the endpoint itself (docs/benchmarks.md).
    """

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = serve
