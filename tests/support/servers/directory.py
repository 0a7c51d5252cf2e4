"""A directory of engines whose table a test changes; each engine in it generates, at the same address.

    async with DirectoryServer() as directory:
        directory.replicas = [directory.report("bondhu-demo", "f1")]
        directory.routing = {"alias": "bondhu", "active": "bondhu-demo", "models": {"bondhu-demo": "f1"}}

`told` has what gateways told it.
"""

from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.gateway_process import free_port


class DirectoryServer:
    """The server; an async context manager in the test's own loop."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/directory"
        self.routing: dict[str, Any] = {"alias": "", "active": "", "models": {}}
        self.replicas: list[dict[str, Any]] = []
        self.ready_in: dict[str, float] = {}
        self.told: list[dict[str, Any]] = []

    def report(self, model: str, fingerprint: str, state: str = "ready", **more: Any) -> dict[str, Any]:
        """A replica's report."""
        return {
            "replica_id": f"{model}-{fingerprint}",
            "epoch": 1,
            "model": model,
            "fingerprint": fingerprint,
            "revision": "r",
            "quantization": "none",
            "adapters": {},
            "state": state,
            "reason": "",
            "address": f"http://127.0.0.1:{self.port}",
            "key": "engine-key",
            "running": 0,
            "waiting": 0,
            "kv_cache_usage": 0.0,
            **more,
        }

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/directory", self._answer)
        app.router.add_post("/directory", self._note)
        app.router.add_post("/v1/completions", _generate)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        table = {"routing": self.routing, "replicas": self.replicas, "ready_in": self.ready_in}
        return web.json_response(table)

    async def _note(self, request: web.Request) -> web.Response:
        self.told.append(await request.json())
        return await self._answer(request)


async def _generate(_: web.Request) -> web.Response:
    return web.json_response({"choices": [], "usage": {}})
