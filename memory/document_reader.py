"""Reads a person's exported document; a large one in a separate process, so that it does not block the gateway.

Parsing and checking tens of megabytes of JSON takes seconds and holds the interpreter lock. The process has limits of
memory and time, gets no secrets, and answers in frames: pickles that are small enough not to delay other work. It is
this module's `main`:

    python -m memory.document_reader MAX_BYTES MAX_SECONDS < document > frames
"""

import asyncio
import pickle
import resource
import struct
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import orjson
from pydantic import ValidationError

from memory.schemas import Document
from storage.memory.conversations import MessageRecord
from storage.memory.export import History, MovedMemory
from storage.memory.people import Profile

SMALL_BYTES = 2**16  # read here: sooner done than a process begun
ITEMS_A_FRAME = 500
MAX_MEMORY_BYTES = 2**30  # address space
MAX_CONTAINERS, MAX_COMMAS = 600_000, 6_000_000  # more than 32 MiB of turns have; those in texts count too
INHERITED = ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR")
_LENGTH = struct.Struct("!Q")


class WrongDocument(Exception):
    """The document is invalid: the wrong field (None: the whole document), and the reason."""


class DocumentReader:
    """Reads one large document at a time.

    Args:
        environ: the process gets only what Python needs of it.
        timeout_s: for one document.

    """

    def __init__(self, environ: Mapping[str, str], timeout_s: float) -> None:
        self._environ = {name: environ[name] for name in INHERITED if name in environ}
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()

    async def read(self, body: bytes) -> History:
        """The content of a document; raises WrongDocument."""
        if len(body) <= SMALL_BYTES:
            return _parse(body).history()
        async with self._turn:
            frames = memoryview(await self._ask(body))
        return await _put_together(frames)

    async def _ask(self, body: bytes) -> bytes:
        limits = str(MAX_MEMORY_BYTES), str(round(self._timeout_s))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, *limits, stdin=PIPE, stdout=PIPE, env=self._environ
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                frames, _ = await process.communicate(body)
        except TimeoutError:
            raise WrongDocument(None, f"it could not be read within {self._timeout_s:g} s; send it in parts") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise WrongDocument(None, "it takes too much to read; send it in parts")
        return frames


async def _put_together(frames: memoryview) -> History:
    profile = Profile(None, {})
    conversations: dict[str, list[MessageRecord]] = {}
    memories: list[MovedMemory] = []
    left: dict[str, int] = {}
    at = 0
    while at < len(frames):
        (length,) = _LENGTH.unpack(frames[at : at + _LENGTH.size])
        at += _LENGTH.size
        kind, *content = pickle.loads(frames[at : at + length])  # noqa: S301 - of our own process
        at += length
        match kind:
            case "wrong":
                raise WrongDocument(*content)
            case "profile":
                profile = Profile(*content)
            case "turns":
                conversations.setdefault(content[0], []).extend(content[1])
            case "memories":
                memories += content[0]
            case "left":
                left = content[0]
        await asyncio.sleep(0)
    return History(profile, dict[str, Sequence[MessageRecord]](conversations), memories, left)


def _parse(body: bytes) -> Document:
    try:
        return Document.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as problem:
        raise WrongDocument(None, f"the request body is not valid JSON: {problem}") from None
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        raise WrongDocument(".".join(map(str, first["loc"])) or None, first["msg"]) from None


def _frames(body: bytes) -> Iterator[tuple[Any, ...]]:
    try:
        if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS or body.count(b",") > MAX_COMMAS:
            raise WrongDocument(None, "it has too many values; send it in parts")
        history = _parse(body).history()
    except WrongDocument as problem:
        yield "wrong", *problem.args
        return
    yield "profile", history.profile.name, history.profile.details
    yield "left", dict(history.left)
    for external_id, messages in history.conversations.items():
        for first in range(0, max(len(messages), 1), ITEMS_A_FRAME):  # one without messages is a conversation too
            yield "turns", external_id, messages[first : first + ITEMS_A_FRAME]
    for first in range(0, len(history.memories), ITEMS_A_FRAME):
        yield "memories", history.memories[first : first + ITEMS_A_FRAME]


def main(read: BinaryIO, write: BinaryIO, max_bytes: int, max_seconds: int) -> None:
    """Read a document and write its frames."""
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (max_seconds, max_seconds))
    for frame in _frames(read.read()):
        pickled = pickle.dumps(frame, pickle.HIGHEST_PROTOCOL)
        write.write(_LENGTH.pack(len(pickled)) + pickled)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, *map(int, sys.argv[1:]))
