"""The HTTP/1.1 client for engines: keep-alive connections on asyncio protocols and httptools' parser (llhttp).

It is on the token path: a general client uses more CPU for a streamed response than the rest of the gateway
(docs/benchmarks.md). Engines need little: POST of JSON, responses by length or chunked, no TLS, no redirects, no
compression. It does not know what the bytes mean, nor which engine to try next.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import cast
from urllib.parse import urlsplit

import httptools

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
MAX_ANSWER_BYTES = 16 * 2**20
LAST_CHUNK_TIMEOUT_S = 1.0
BUFFER_BYTES = 1 << 18  # reading from an engine pauses when its client is this far behind


class ConnectionLost(Exception):
    """The engine refused the connection, or it was lost before the response was complete."""


class TooLarge(Exception):
    """The engine's response is larger than the client accepts."""


class EngineResponse(asyncio.Protocol):
    """A connection to an engine and the response that arrives on it.

    `status` and `content_type` are set once `EngineClient.post` has returned; always pass it to `EngineClient.release`.
    """

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop, max_bytes: int) -> None:
        self.address = address
        self._max_bytes = max_bytes
        self._loop = loop  # kept, because getting the running loop is a system call in uvloop
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
        """Wait for data and return all that has arrived; b"" at the end. Raises ConnectionLost."""
        while not self._pieces:
            if self._complete:
                return b""
            await self._news_future()
        block = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self._open_transport().resume_reading()
        return block

    async def body(self) -> bytes:
        """The rest of the response; raises ConnectionLost and TooLarge."""
        blocks, size_bytes = [], 0
        while block := await self.block():
            blocks.append(block)
            size_bytes += len(block)
            if size_bytes > self._max_bytes:
                raise TooLarge
        return b"".join(blocks)

    async def until_complete(self) -> None:
        """Wait a moment for the end of a response that was read up to it, so that the connection can be reused."""
        if self._complete:
            return
        with suppress(ConnectionLost, TimeoutError):
            async with asyncio.timeout(LAST_CHUNK_TIMEOUT_S):
                while await self.block():
                    pass

    async def send(self, request: bytes) -> None:
        """Send a request and wait for the response's headers; raises ConnectionLost."""
        self.status, self.content_type = 0, b""
        self._headed = self._complete = False
        self._open_transport().write(request)
        while not self._headed:
            await self._news_future()

    def close(self) -> None:
        """Close the connection; an engine aborts an unfinished response."""
        self._open_transport().abort()

    def _news_future(self) -> "asyncio.Future[None]":
        """Done at the next news; raises ConnectionLost if there will be none."""
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        self._news = self._loop.create_future()
        return self._news

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _open_transport(self) -> asyncio.Transport:
        assert self._transport is not None, "connected before use"
        return self._transport

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Parse data."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as problem:
            self._lost = f"invalid HTTP response: {problem}"
            self.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the waiting task."""
        self._lost = self._lost or (type(exc).__name__ if exc else "closed by the engine")
        self._wake()

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the content type."""
        if name.lower() == b"content-type":
            self.content_type = value

    def on_headers_complete(self) -> None:
        """Note that the headers are complete."""
        self.status = self._parser.get_status_code()
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """Buffer data; pause reading if there is too much."""
        self._pieces.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFER_BYTES and not self._paused:
            self._paused = True
            self._open_transport().pause_reading()

    def on_message_complete(self) -> None:
        """Note that the response is complete."""
        self._reusable = self._parser.should_keep_alive()
        self._complete = True


class EngineClient:
    """Posts JSON to engines over keep-alive connections.

    Args:
        connect_timeout_s: timeout of a new connection.
        keep_alive_s: how long an idle connection is reused; less than the engines' own limit.
        max_answer_bytes: maximum size of a response that is read whole.

    """

    def __init__(
        self, *, connect_timeout_s: float, keep_alive_s: float, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._connect_timeout_s = connect_timeout_s
        self._keep_alive_s = keep_alive_s
        self._idle: dict[str, list[EngineResponse]] = {}

    async def post(
        self, address: str, path: str, key: str, payload: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> EngineResponse:
        """Send `payload` to `address` (http://host:port) and wait for the response's headers.

        Pass the response to `release` afterwards. Raises ConnectionLost, but first replaces a kept connection that
        turns out to be closed.
        """
        further = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"POST {path} HTTP/1.1\r\nhost: {address[7:]}\r\nauthorization: Bearer {key}\r\n{further}"
            f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
        ).encode() + payload
        while (kept := self._kept(address)) is not None:
            try:
                return await self._send(kept, request)
            except ConnectionLost:
                continue
        return await self._send(await self._connected(address), request)

    def release(self, response: EngineResponse) -> None:
        """Keep the response's connection for the next request, or close it if the response is not complete."""
        if response.reusable:
            response.idle_since = time.monotonic()
            self._idle.setdefault(response.address, []).append(response)
        else:
            response.close()

    def close(self) -> None:
        """Close all idle connections."""
        for responses in self._idle.values():
            for response in responses:
                response.close()
        self._idle.clear()

    async def _send(self, response: EngineResponse, request: bytes) -> EngineResponse:
        try:
            await response.send(request)
        except BaseException:  # also CancelledError: the client has disconnected
            response.close()
            raise
        return response

    def _kept(self, address: str) -> EngineResponse | None:
        idle = self._idle.get(address, [])
        while idle:
            response = idle.pop()
            if response.reusable and time.monotonic() - response.idle_since < self._keep_alive_s:
                return response
            response.close()
        self._idle.pop(address, None)  # engines come and go, each with its own address
        return None

    async def _connected(self, address: str) -> EngineResponse:
        where = urlsplit(address)
        assert where.hostname, "engines report http://host:port"
        try:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self._connect_timeout_s):
                _, response = await loop.create_connection(
                    lambda: EngineResponse(address, loop, self._max_answer_bytes), where.hostname, where.port or 80
                )
        except (OSError, TimeoutError) as problem:
            raise ConnectionLost(type(problem).__name__) from problem
        return response
