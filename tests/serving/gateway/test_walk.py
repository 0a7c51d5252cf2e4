"""The walk of docs/walks.md is the one that a streamed chat really takes, and it is short."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from serving.engines.http_client import EngineClient
from serving.generation.planner import Planner
from serving.ledger.ledger import Ledger
from serving.streams.recording import Recording
from tests.serving.gateway.conftest import Application, Message
from tests.support.gateway_process import ROOT

MAX_FILES = 14
FOR_SHARED_ONES = {"reader", "recorder", "recording"}  # modules


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


async def walk_of(application: Application, **fields: Any) -> set[str]:
    """The files that a streamed chat walks through."""
    sent = bytearray()

    async def send(message: Message) -> None:
        sent.extend(message.get("body", b""))

    into_recording = {function.__code__ for function in (Recording.start, Recording.write, Recording.end)}
    moments = {Planner.plan.__code__, EngineClient.post.__code__, send.__code__} | into_recording
    walk = Walk(moments, rooms={Ledger.begin.__code__})
    with walk.watching():
        await application.stream(send, **fields)
    assert sent.endswith(b"data: [DONE]\n\n")
    return walk.files


async def test_a_streamed_chat_walks_through_fourteen_files(application: Application) -> None:
    """Those of the documentation, all of them if the response is shared, and three fewer if it is not.

    A file counts if it stands on the call stack when the ledger's record begins, when the plan is made, when the
    request goes to the engine, or when bytes go to the client or into the recording. Rooms that are entered and left in
    between (authentication, limits, memory, admission, …) do not count.
    """
    shared = await walk_of(application, temperature=0)
    alone = await walk_of(application, temperature=1)
    assert shared == documented()
    assert len(shared) <= MAX_FILES
    assert alone == {file for file in shared if Path(file).stem not in FOR_SHARED_ONES}
