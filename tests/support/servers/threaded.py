"""A server in a thread of its own, for tests that do not run an event loop themselves."""

import asyncio
import threading
from types import TracebackType
from typing import Self

from aiohttp import web

WITHIN_S = 30


class ThreadedServer:
    """A context manager; subclasses say in `_serve` what answers.

    Args:
        port: on the loopback; 0: a free one.

    Attributes:
        url: where it answers; with a free port, once it has started.

    """

    def __init__(self, port: int = 0) -> None:
        self.url = f"http://127.0.0.1:{port}" if port else ""
        self._port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def _serve(self, app: web.Application) -> None:
        """Add the routes."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WITHIN_S)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=32 * 2**20)
        self._serve(app)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()
