"""An outside service with scripted bodies by path, and typical faults.

async with OutsideServer() as server:
    server.bodies["/1/lb-radio/tags"] = [...]
    server.faults += [429, CUT]  # of the next answers
"""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from tests.support.servers.local import LocalServer

CUT = object()  # a connection that ends in the middle of a body
SLOW = object()  # bytes that come one by one and never end
JUNK = object()  # a 200 that is no JSON and no XML


class OutsideServer(LocalServer):
    """The server; a context manager.

    Attributes:
        bodies: by path: bytes as they are, a function of the query, else JSON; what is not there is a 404.
        faults: of the next answers: a status, CUT, SLOW, JUNK; None: as it should be.
        headers: of an answer that is a status.
        reason: Google's word in its body.
        requests: path and query of each request.

    """

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[str, Any] = {}
        self.faults: list[Any] = []
        self.headers: dict[str, str] = {}
        self.reason = ""
        self.requests: list[tuple[str, dict[str, list[str]]]] = []

    def add_routes(self, app: web.Application) -> None:
        """See `LocalServer`."""
        app.router.add_get("/{path:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, {name: request.query.getall(name) for name in request.query}))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            body = {"error": {"code": fault, "errors": [{"reason": self.reason}]}}
            return web.json_response(body, status=fault, headers=self.headers)
        if fault is JUNK:
            return web.Response(body=b"<html>no")
        found = self.bodies.get(request.path)
        if found is None:
            return web.Response(status=404)
        if callable(found):
            found = found(request.query)
        body = found if isinstance(found, bytes) else orjson.dumps(found)
        if fault is None:
            return web.Response(body=body)
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        if fault is CUT:
            await response.write(body[: len(body) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        for byte in body:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.5)
        return response
