"""Routes on the token path: part of the OpenAPI document, but served without FastAPI's dependency injection.

FastAPI's and Starlette's overhead would exceed the cost of the endpoints themselves (docs/benchmarks.md): a request for
such a route is found by its path alone, before the router and the middleware around it, and its headers are read once.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import ApiError


class DirectRoute(APIRoute):
    """Calls `endpoint(request)` and sends its response; nothing is injected or validated."""

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(DirectRequest(scope, receive, send))
            await response(scope, receive, send)

        self.app = serve


class DirectRoutes:
    """ASGI middleware: serves POST requests to the DirectRoutes among `routes`, and passes on all others.

    Args:
        app: the rest of the application.
        routes: all its routes.
        on_error: the response to an ApiError.

    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Iterable[BaseRoute],
        on_error: Callable[[Request, ApiError], Awaitable[Response]],
    ) -> None:
        self._app = app
        self._on_error = on_error
        self._routes = {
            route.path: route for route in routes if isinstance(route, DirectRoute) and route.methods == {"POST"}
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            await route.app(scope, receive, send)
        except ApiError as problem:
            response = await self._on_error(Request(scope, receive, send), problem)
            await response(scope, receive, send)


class DirectRequest(Request):
    """A request with IndexedHeaders."""

    _indexed: "IndexedHeaders | None" = None

    @property
    def headers(self) -> "IndexedHeaders":
        """The headers."""
        if self._indexed is None:
            self._indexed = IndexedHeaders(self.scope)
        return self._indexed


class IndexedHeaders(Headers):
    """Headers by name; of a repeated one the first, as Starlette has it. Starlette compares every header each time."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._by_name: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])
        }

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a header; `default` if it is missing."""
        return self._by_name.get(key.lower(), default)

    def __getitem__(self, key: str) -> str:
        """Return the value of a header; raises KeyError."""
        return self._by_name[key.lower()]

    def __contains__(self, key: Any) -> bool:
        """Whether a header is there."""
        return isinstance(key, str) and key.lower() in self._by_name
