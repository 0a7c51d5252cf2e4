"""The application in this process, for tests that look into it while it serves."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.gateway.app import create_app
from storage import migrate
from tests.support.databases.redis_process import RedisProcess
from tests.support.gateway_process import CLUSTER_KEY, ROOT, free_port, make_key
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL, EngineServer

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Application:
    """The application and an API key."""

    def __init__(self, app: Any, key: str) -> None:
        self._app = app
        self._key = key

    async def stream(self, send: Send, **fields: Any) -> None:
        """Serve a streamed chat; the client stays until its end."""
        body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hi"}], **fields}
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}
        scope |= {"method": "POST", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions"}
        scope |= {"query_string": b"", "root_path": "", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}
        scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
        requests = [{"type": "http.request", "body": json.dumps(body).encode()}]

        async def receive() -> Message:
            if not requests:
                await asyncio.Event().wait()
            return requests.pop()

        await self._app(scope, receive, send)


@pytest.fixture
async def application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_process: RedisProcess
) -> AsyncIterator[Application]:
    """Return the application with an engine behind it."""
    port, url = free_port(), f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    environ = {
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(tmp_path),
        "BONDHU_CLUSTER_KEY": CLUSTER_KEY,
        "BONDHU__MODELS__ACTIVE": MODEL,
        "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
        "BONDHU__RAY__INGRESS_PORT": str(port),
        "BONDHU__REDIS__URL": redis_process.url,
        "BONDHU__GATEWAY__DIRECTORY_POLL_S": "0.1",
        "BONDHU__EMBEDDER__ENABLED": "false",
        "BONDHU__STREAMS__COALESCE": "all",
        "DATABASE_URL": url,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    await asyncio.to_thread(migrate.upgrade, url)
    key = await asyncio.to_thread(make_key, url, "inside")
    made = create_app()
    with EngineServer(port):
        async with made.router.lifespan_context(made):
            models = made.state.gateway.models
            await asyncio.to_thread(eventually, lambda: models.find(MODEL).is_ready, 60, "a ready engine")
            yield Application(made, key)
