"""One keep-alive HTTP/1.1 connection that posts JSON and notes when each piece of the answer arrived.

It is asyncio's raw protocol with httptools' parser: a client library would cost as much as the gateway that it
measures. It does not know what the bytes mean. No TLS, no redirects, no compression.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools


@dataclass
class Exchange:
    """One request's life: monotonic instants in seconds, and the body's pieces with the instant of each."""

    sent_at: float
    status: int = 0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended_at: float = 0.0


class Connection(asyncio.Protocol):
    """Posts one request at a time; a connection that breaks raises ConnectionError from `post`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange = Exchange(0.0)
        self._answer: asyncio.Future[Exchange] | None = None
        self._arrived_at = 0.0

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect to the host and port of `url`."""
        address = urlsplit(url)
        assert address.hostname, "an http URL"
        _, connection = await asyncio.get_running_loop().create_connection(cls, address.hostname, address.port or 80)
        return connection

    async def post(self, head: bytes, body: bytes, due_at: float | None = None) -> Exchange:
        """Send a request (`head` lacks only the content length) and return its answer once that is complete.

        `due_at` is when it should have been sent, if that was not now; its latency counts from then.
        """
        assert self._transport is not None, "opened"
        self._answer = asyncio.get_running_loop().create_future()
        request = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        self._exchange = Exchange(time.monotonic() if due_at is None else due_at)
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Note when, and parse."""
        self._arrived_at = time.monotonic()
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"the server closed the connection ({exc})"))

    # httptools' side

    def on_headers_complete(self) -> None:
        """Take the status."""
        self._exchange.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._exchange.pieces.append((self._arrived_at, body))

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        self._exchange.ended_at = self._arrived_at
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._exchange)
