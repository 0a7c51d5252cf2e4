"""A server of an outside service on a free port of the loopback, for as long as a test needs it."""

from typing import Self

from aiohttp import web


class LocalServer:
    """A context manager; `url` is where it answers. Subclasses add the routes."""

    def __init__(self) -> None:
        self.url = ""

    def add_routes(self, app: web.Application) -> None:
        """Say what answers."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Start it."""
        app = web.Application()
        self.add_routes(app)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self._runner.cleanup()
