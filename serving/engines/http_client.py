"""HTTP/1.1 to the engines: keep-alive connections on asyncio's own protocol and httptools' parser (llhttp).

The token path's client. A general one costs more processor time for a streamed answer than all the rest of the gateway
(docs/benchmarks.md), and engines need little of it: POST of JSON, an answer by length or in chunks, no TLS, no
redirects, no compression. It does not know what the bytes mean, nor whom to ask when an engine is gone.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast
from urllib.parse import urlsplit

import httptools

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
MAX_ANSWER_BYTES = 16 * 2**20
BUFFER_BYTES = 1 << 18  # an engine that is this far ahead of its client is not read from until the client catches up


class ConnectionLost(Exception):
    """The engine refused the connection, or it broke before the answer was complete."""


class TooLarge(Exception):
    """The engine's whole answer has more bytes than are held for one."""


class Answer(asyncio.Protocol):
    """A connection to an engine and the answer that is coming in on it.

    `status` and `content_type` hold once `EngineClient.post` has returned; `EngineClient.release` it in any case.
    """

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop, max_bytes: int) -> None:
        self.address = address
        self._max_bytes = max_bytes
        self._loop = loop  # asking for the running one is a system call in uvloop, for every piece of a stream
        self.status = 0
        self.content_type = b""
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._headed = self._complete = False
        self._reusable = True
        self._lost: str | None = None
        self._news: asyncio.Future[None] | None = None

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent on this connection."""
        return self._complete and self._reusable and not self._pieces and self._lost is None

    async def block(self) -> bytes:
        """What has come in since the last call, waiting for something; b"" at the end. Raises ConnectionLost."""
        while not self._pieces:
            if self._complete:
                return b""
            await self._wait()
        block = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self._open_transport().resume_reading()
        return block

    async def body(self) -> bytes:
        """The whole of what is still to come. Raises ConnectionLost and TooLarge."""
        blocks, size_bytes = [], 0
        while block := await self.block():
            blocks.append(block)
            size_bytes += len(block)
            if size_bytes > self._max_bytes:
                raise TooLarge
        return b"".join(blocks)

    async def ask(self, request: bytes) -> None:
        """Send a request; returns once the answer's head is there. Raises ConnectionLost."""
        self.status, self.content_type = 0, b""
        self._headed = self._complete = False
        self._open_transport().write(request)
        while not self._headed:
            await self._wait()

    def close(self) -> None:
        """Close the connection; an engine stops working on an answer that is not complete."""
        self._open_transport().abort()

    async def _wait(self) -> None:
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        self._news = self._loop.create_future()
        await self._news

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _open_transport(self) -> asyncio.Transport:
        assert self._transport is not None, "connected before it is used"
        return self._transport

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Parse."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as problem:
            self._lost = f"no HTTP answer: {problem}"
            self.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._lost = self._lost or (type(exc).__name__ if exc else "closed by the engine")
        self._wake()

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the one header that matters."""
        if name.lower() == b"content-type":
            self.content_type = value

    def on_headers_complete(self) -> None:
        """The head is there."""
        self.status = self._parser.get_status_code()
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """Keep a piece; stop reading when too many wait."""
        self._pieces.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFER_BYTES and not self._paused:
            self._paused = True
            self._open_transport().pause_reading()

    def on_message_complete(self) -> None:
        """The answer is complete."""
        self._reusable = self._parser.should_keep_alive()
        self._complete = True


class EngineClient:
    """Posts JSON to engines over kept connections.

    Args:
        connect_timeout_s: for a new connection.
        keep_alive_s: how long an idle connection is used again; less than the engines' own limit.
        max_answer_bytes: of an answer that is held whole.

    """

    def __init__(
        self, *, connect_timeout_s: float, keep_alive_s: float, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._connect_timeout_s = connect_timeout_s
        self._keep_alive_s = keep_alive_s
        self._idle: dict[str, list[Answer]] = {}

    async def post(
        self, address: str, path: str, key: str, payload: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Send `payload` to `address` (http://host:port) and return when the answer's head is there.

        Hand the answer to `release` afterwards. Raises ConnectionLost; a kept connection that turns out to be closed
        is replaced by a new one first.
        """
        further = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"POST {path} HTTP/1.1\r\nhost: {address[7:]}\r\nauthorization: Bearer {key}\r\n{further}"
            f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
        ).encode() + payload
        while (kept := self._kept(address)) is not None:
            try:
                return await self._ask(kept, request)
            except ConnectionLost:
                continue
        return await self._ask(await self._connected(address), request)

    def release(self, answer: Answer) -> None:
        """Keep the answer's connection for the next request, or close it when the answer is not complete."""
        if answer.reusable:
            answer.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(answer.address, []).append(answer)
        else:
            answer.close()

    def close(self) -> None:
        """Close all kept connections."""
        for answers in self._idle.values():
            for answer in answers:
                answer.close()
        self._idle.clear()

    async def _ask(self, answer: Answer, request: bytes) -> Answer:
        try:
            await answer.ask(request)
        except BaseException:  # cancelled, too: the client has left
            answer.close()
            raise
        return answer

    def _kept(self, address: str) -> Answer | None:
        idle = self._idle.get(address, [])
        while idle:
            answer = idle.pop()
            if answer.reusable and asyncio.get_running_loop().time() - answer.idle_since < self._keep_alive_s:
                return answer
            answer.close()
        self._idle.pop(address, None)  # engines come and go, each at an address of its own
        return None

    async def _connected(self, address: str) -> Answer:
        where = urlsplit(address)
        assert where.hostname, "engines report http://host:port"
        try:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self._connect_timeout_s):
                _, answer = await loop.create_connection(
                    lambda: Answer(address, loop, self._max_answer_bytes), where.hostname, where.port or 80
                )
        except (OSError, TimeoutError) as problem:
            raise ConnectionLost(type(problem).__name__) from problem
        return answer
