"""uvicorn's HTTP protocol with additional limits: timeouts for receiving a request, size of headers, connections.

uvicorn keeps a connection that sends one byte a minute, or nothing, for ever, and its own concurrency limit only counts
connections that have sent all headers. Here every request must arrive within a deadline. An incomplete request gets
408, headers that are too large 431 (RFC 6585), a connection above the limit 503, what is not HTTP/1 400, each in the
envelope of `serving.errors`; then the connection is closed. A client that does not read its response is disconnected
too.

An offer to upgrade is ignored, as a server may (RFC 9110, section 7.8). Java's HttpClient and `curl --http2` send it
with every first request; uvicorn's parser would lose the body, because it takes what follows for another protocol.

It knows nothing of the application except its lifespan state, which has the ConnectionLimits:

    uvicorn --http serving.gateway.http_protocol:LimitedProtocol
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import httptools
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.errors import envelope
from serving.routes.disconnect import WATCH

STATE_KEY = "connection_limits"
ABORTED_ABOVE = 2  # times max_connections; above that, connections are closed without a response
OF_UPGRADES = frozenset({b"upgrade", b"http2-settings", b"connection"})  # headers


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of connections to a worker.

    `max_connections` includes idle ones. `header_timeout_s` runs from the connection, or from a later request's first
    byte, to the end of the headers; `body_timeout_s` from there to the end of the body. `write_timeout_s` is how long
    written data may wait for the client to read it.
    """

    max_connections: int
    max_header_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    write_timeout_s: float


class _UnframedCycle(RequestResponseCycle):
    """A response to HTTP/1.0, which does not know chunks: its end is that of the connection (RFC 9112, section 6.3).

    uvicorn sends chunks whatever the version.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message of the application's."""
        self.chunked_encoding = False
        if message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))  # uvicorn's check of lengths passes
        await super().send(message)


class _HeadWithBody:
    """The transport of one response: its head waits for what the application sends at once, to be written with it.

    A system call costs more than most of what a request does. uvloop writes at once, and uvicorn the head by itself.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None  # b"": it was written

    def write(self, data: bytes) -> None:
        """Keep the head until the loop's next turn; write all else at once."""
        if self._head is None:
            self._head = data
            self._loop.call_soon(self._flush)
        elif self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is closed or being closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection after what was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            if not self._transport.is_closing():
                self._transport.write(head)


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    _limits: ConnectionLimits
    _timer: asyncio.TimerHandle | None = None  # until a request has arrived; not set if it arrives at once
    _write_timer: asyncio.TimerHandle | None = None  # until the client has read
    _in_head = True  # waiting for the rest of a request's headers, or for its first byte
    _head_bytes = 0  # received bytes of the headers
    _chunk_bytes = 0  # of the data that is being parsed
    _max_head_bytes = 0  # received bytes that may be of the headers: at least what they have
    _in_body = False  # waiting for the rest of a request's body
    _begun = False  # a part of the headers has arrived
    _refused = False
    _is_lost = False
    _watcher: Callable[[], None] | None = None  # called when the client disconnects
    _offers_upgrade = False  # the parser has stopped after the headers of a request that offers to upgrade

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start the timeout for a request."""
        super().connection_made(transport)
        self._limits = self.app_state[STATE_KEY]
        if len(self.connections) > ABORTED_ABOVE * self._limits.max_connections:
            self._refused = True
            transport.abort()
        else:
            self._arm(self._limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeouts."""
        self._disarm()
        self._disarm_write()
        super().connection_lost(exc)
        self._is_lost = True
        self._tell_watcher()

    def data_received(self, data: bytes) -> None:
        """Parse data, unless the connection was refused."""
        if self._refused:
            return
        self._chunk_bytes = len(data)
        if self._in_head:
            self._head_bytes += len(data)
            self._max_head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(400, envelope("This is not a valid HTTP/1.1 request.", "invalid_request_error", None, None))
            return
        if self._in_head and self._head_bytes > self._limits.max_header_bytes:
            self._refuse_head()
        elif self._timer is None and not self._refused:
            if self._in_body:
                self._arm(self._limits.body_timeout_s)
            elif self._in_head or self.cycle is None or self.cycle.response_complete:
                self._arm(self._limits.header_timeout_s)

    def on_message_begin(self) -> None:
        """Note the first byte of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {WATCH: {"call": self.watch_disconnect}}
        self._begun = True
        if not self._in_head:
            self._in_head, self._head_bytes, self._max_head_bytes = True, 0, self._chunk_bytes

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                if not self._offers_upgrade:  # CONNECT, which has been answered
                    return
                data = self._head_without_upgrade() + data[stop.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The request's head without the offer, for a new parser: the old one would not parse the body."""
        self._offers_upgrade = False
        version = self.parser.get_http_version()
        head = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version.encode())]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token for token in value.split(b",") if token.strip().lower() not in OF_UPGRADES]
                value = b",".join(tokens)
            if name not in OF_UPGRADES or (name == b"connection" and value):
                head.append(b"%s: %s\r\n" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"".join([*head, b"\r\n"])

    def on_headers_complete(self) -> None:
        """Pass the request to the application, or refuse it."""
        if self._refused:
            return
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offers_upgrade = True  # the parser stops now, and `_parse` goes on
            return
        self._in_head, self._head_bytes, self._begun = False, 0, False
        if (
            self._max_head_bytes > self._limits.max_header_bytes
            and self._size_of_head() > self._limits.max_header_bytes
        ):
            self._refuse_head()
        elif len(self.connections) > self._limits.max_connections:
            message = "Too many connections are open. Try again later."
            self._refuse(503, envelope(message, "api_error", None, "too_many_connections"))
        else:
            self._disarm()
            self._in_body = True
            super().on_headers_complete()
            if self.cycle is not None:  # its task has not begun
                self.cycle.transport = cast(asyncio.Transport, _HeadWithBody(self.transport, self.loop))
                if self.scope["http_version"] == "1.0":
                    self.cycle.__class__ = _UnframedCycle

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        if not self._refused and not self._offers_upgrade:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        if not self._refused and not self._offers_upgrade:
            self._disarm()
            self._in_body = False
            super().on_message_complete()

    def pause_writing(self) -> None:
        """Start the timeout for the client to read."""
        super().pause_writing()
        self._arm_write()

    def resume_writing(self) -> None:
        """Cancel the timeout for the client to read."""
        super().resume_writing()
        if not self._refused:
            self._disarm_write()

    def watch_disconnect(self, watcher: Callable[[], None] | None) -> None:
        """Call `watcher` once when the client disconnects, at once if it has; None: no longer."""
        self._watcher = watcher
        if watcher is not None:
            self.flow.resume_reading()  # as `receive` does: a disconnect is only seen while reading
            if self._is_lost or self._refused:
                self.loop.call_soon(self._tell_watcher)

    def _tell_watcher(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher()

    def _arm_write(self) -> None:
        self._disarm_write()
        self._write_timer = self.loop.call_later(self._limits.write_timeout_s, self.transport.abort)

    def _disarm_write(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _arm(self, timeout_s: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(timeout_s, self._on_late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_late(self) -> None:
        self._timer = None
        is_answering = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if self.flow.read_paused or is_answering:  # we have paused reading, or the next request was sent early
            self._arm(self._limits.header_timeout_s)
        else:
            message = "Timeout: the request did not arrive completely."
            self._refuse(408, envelope(message, "invalid_request_error", None, "request_timeout"))

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self) -> None:
        message = f"The request headers are too large: at most {self._limits.max_header_bytes} bytes are accepted."
        self._refuse(431, envelope(message, "invalid_request_error", None, "headers_too_large"))

    def _refuse(self, status: int, body: bytes) -> None:
        """Refuse the connection, with an error response if the client still expects one."""
        self._refused = True
        self._disarm()
        self._unset_keepalive_if_required()
        answering = None if self.cycle is None or self.cycle.response_complete else self.cycle
        if answering is not None:
            answering.disconnected = True
            answering.message_event.set()
            self._tell_watcher()
        is_awaited = self._begun or status != 408 or answering is not None
        if is_awaited and (answering is None or not answering.response_started) and not self.transport.is_closing():
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        self._arm_write()
        self.transport.close()
