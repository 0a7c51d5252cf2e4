"""The walk of docs/walks.md is the one that a streamed chat really takes, and it is short."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from fastapi import FastAPI

from serving.engines.http_client import EngineClient
from serving.gateway.app import create_app
from serving.generation.planner import Planner
from serving.ledger.ledger import Ledger
from serving.streams.recording import Recording
from storage import migrate
from tests.support.databases.redis_process import RedisProcess
from tests.support.gateway_process import CLUSTER_KEY, ROOT, free_port, make_key
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL, EngineServer

MAX_FILES = 15
FOR_SHARED_ONES = {"reader", "recorder", "recording"}  # modules
Message = dict[str, Any]


class Walk:
    """Notes the project's files on the call stack whenever one of `moments` begins.

    A moment is a function; of those in `rooms` the own file does not count.
    """

    def __init__(self, moments: set[CodeType], rooms: set[CodeType]) -> None:
        self.files: set[str] = set()
        self._moments = moments | rooms
        self._rooms = rooms

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread."""
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code not in self._moments:
            return
        outer = frame.f_back if frame.f_code in self._rooms else frame
        while outer is not None:
            path = Path(outer.f_code.co_filename)
            if path.is_relative_to(ROOT / "serving"):
                self.files.add(str(path.relative_to(ROOT)))
            outer = outer.f_back


def documented() -> set[str]:
    """The files of the chat's walk in the documentation."""
    text = (ROOT / "docs/walks.md").read_text()
    section = text.partition("## A chat\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\d+\. \[`([^`]+)`\]", section, re.MULTILINE))


@pytest.fixture
async def app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_process: RedisProcess
) -> AsyncIterator[tuple[FastAPI, str]]:
    """Return the application in this process with an engine behind it, and a key."""
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
    key = await asyncio.to_thread(make_key, url, "walker")
    made = create_app()
    with EngineServer(port):
        async with made.router.lifespan_context(made):
            gateway = made.state.gateway
            await asyncio.to_thread(
                eventually, lambda: gateway.models.find(MODEL).is_ready, 60, "the engine is ready", 0.02
            )
            yield made, key


async def walk_of(app: FastAPI, key: str, **fields: Any) -> set[str]:
    """The files that a streamed chat walks through."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hi"}], **fields}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}
    scope |= {"method": "POST", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions"}
    scope |= {"query_string": b"", "root_path": "", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    requests, sent = [{"type": "http.request", "body": json.dumps(body).encode()}], bytearray()

    async def receive() -> Message:
        if not requests:
            await asyncio.Event().wait()  # the client stays
        return requests.pop()

    async def send(message: Message) -> None:
        sent.extend(message.get("body", b""))

    into_recording = {function.__code__ for function in (Recording.start, Recording.write, Recording.end)}
    moments = {Planner.plan.__code__, EngineClient.post.__code__, send.__code__} | into_recording
    walk = Walk(moments, rooms={Ledger.begin.__code__})
    with walk.watching():
        await app(scope, receive, send)
    assert sent.endswith(b"data: [DONE]\n\n")
    return walk.files


async def test_a_streamed_chat_walks_through_fifteen_files(app: tuple[FastAPI, str]) -> None:
    """Those of the documentation, all of them if the response is shared, and three fewer if it is not.

    A file counts if it stands on the call stack when the ledger's record begins, when the plan is made, when the
    request goes to the engine, or when bytes go to the client or into the recording. Rooms that are entered and left in
    between (authentication, limits, memory, admission, …) do not count.
    """
    shared = await walk_of(*app, temperature=0)
    alone = await walk_of(*app, temperature=1)
    assert shared == documented()
    assert len(shared) <= MAX_FILES
    assert alone == {file for file in shared if Path(file).stem not in FOR_SHARED_ONES}
