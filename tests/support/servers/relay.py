"""A real engine behind the door of the scripted one: what it is told is recorded, what it says is its own."""

import json
from typing import Any

from aiohttp import ClientSession, web

from tests.support.models.llama_service import LlamaEngine
from tests.support.servers.engine import EngineServer


class RelayServer(EngineServer):
    """A directory with the engine in it, an embedder of words, and the way to the engine; a context manager."""

    def __init__(self, port: int, engine: LlamaEngine) -> None:
        super().__init__(port, embeds=True)
        self._engine = engine

    def add_routes(self, app: web.Application) -> None:
        """Whatever else the gateway asks is the engine's as well."""
        app.router.add_route("*", "/{path:.*}", self._relay)

    async def _directory(self, _: web.Request) -> web.Response:
        table = self._engine.table()
        [report] = table["replicas"]
        return web.json_response({**table, "replicas": [{**report, "address": self.url}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = json.loads(await request.read())
        if "messages" in body:
            self.requests.append(body)
        return await self._relay(request)

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        passed = ("authorization", "content-type")
        headers = {name: request.headers[name] for name in passed if name in request.headers}
        address = self._engine.address + request.path_qs
        async with (
            ClientSession() as session,
            session.request(request.method, address, data=await request.read(), headers=headers) as answer,
        ):
            kind = answer.headers.get("content-type", "application/json")
            response = web.StreamResponse(status=answer.status, headers={"content-type": kind})
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            return response

    _tokenize = _relay  # type: ignore[assignment]
    _detokenize = _relay  # type: ignore[assignment]
