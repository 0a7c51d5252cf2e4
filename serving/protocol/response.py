"""Writes a response to wherever it goes, and remembers what was sent.

It does not know which model answers, so another model can continue a stream that broke; nor whether a client, a
recording or an agent's run receives it.
"""

from collections.abc import Sequence
from typing import Protocol

from serving import errors
from serving.protocol import sse
from serving.protocol.record import RequestRecord
from serving.protocol.sse import Event

MODEL_HEADER, CACHE_HEADER = b"x-bondhu-model", b"x-bondhu-cache"
DEGRADED_HEADER = b"x-bondhu-degraded"
KEEP_BYTES = 1 << 20  # a longer response can neither be continued by another model nor cached
Headers = list[tuple[bytes, bytes]]


class Sink(Protocol):
    """Receives a response: a client, a recording, an agent's run."""

    async def start(self, status: int, headers: Headers) -> None:
        """Begin; the list of headers becomes the receiver's own."""

    async def write(self, events: bytes) -> None:
        """Receive whole events of a stream."""

    async def end(self, rest: bytes = b"") -> None:
        """Receive the last events, or the whole body of a response without a stream."""


class Source(Protocol):
    """Makes a response: a generation, or the reader of a recording."""

    async def run(self, sink: Sink) -> None:
        """Send the response to `sink`; raises ApiError before its start, and only then."""

    def abandon(self) -> None:
        """Note that nobody needs the response any more: `run` ends soon, unless it is complete."""


class Collected:
    """A sink that keeps a response.

    Attributes:
        status: 0 until the response starts.

    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._blocks: list[bytes] = []

    @property
    def body(self) -> bytes:
        """What was received of the body."""
        return b"".join(self._blocks)

    async def start(self, status: int, headers: Headers) -> None:
        """Keep the status and the headers."""
        self.status, self.headers = status, headers

    async def write(self, events: bytes) -> None:
        """Keep events."""
        self._blocks.append(events)

    async def end(self, rest: bytes = b"") -> None:
        """Keep the last bytes."""
        self._blocks.append(rest)


class Guard(Protocol):
    """Checks a reply on its way to the client, and adds text around it (`serving.safety.reply_guard`)."""

    def on_body(self, body: bytes) -> tuple[bytes, bytes]:
        """Return the body to send, and the one to keep."""

    def on_events(self, events: Sequence[Event]) -> bytes:
        """Return the events to send, which may be none yet; raises if the reply is unsafe."""

    def release(self) -> bytes:
        """Return the held events."""


class ResponseWriter:
    """One response.

    Args:
        sink: receives it.
        record: the request's record, which gets the status and the time of the first token.
        headers: additional headers.
        keeps: whether to remember what was sent, for a continuation or for the cache.

    """

    def __init__(self, sink: Sink, record: RequestRecord, headers: Headers, *, keeps: bool) -> None:
        self._sink = sink
        self._record = record
        self._headers = headers
        self._keeps = keeps
        self._kept_bytes = 0
        self.guard: Guard | None = None  # `sent` is what came to it
        self.sent: list[bytes] = []  # a stream's events, or a body
        self.label = ""  # the model that answers
        self.degraded = ""  # why the response is degraded; sent as a header if set before the start
        self.started = False  # the status line was sent
        self.finished = False  # the last byte was passed on

    @property
    def record(self) -> RequestRecord:
        """The request's record."""
        return self._record

    @property
    def is_kept(self) -> bool:
        """Whether `sent` is complete."""
        return self._keeps

    def resume(self, sent: list[bytes]) -> None:
        """Resume a stream of which the client has received `sent` from a worker that is gone."""
        self.started = True
        self._record.status = 200
        for block in sent:
            if self._keeps:
                self._keep(block)

    def add_header(self, name: bytes, value: bytes) -> None:
        """Add a header; has no effect once the response has started."""
        self._headers.append((name, value))

    async def events(self, events: Sequence[Event], label: str, *, is_last: bool = False) -> None:
        """Send events of a stream, and end it after the last ones.

        `label` is the model that answers and only used in the first call.
        """
        if not self.started:
            await self._start(200, [*sse.HEADERS], label)
            self._record.first_token()
        block = sse.joined(events)
        if self._keeps:
            self._keep(block)
        if self.guard is not None:
            block = self.guard.on_events(events)
        if is_last:
            self.finished = True
            await self._sink.end(block)
        elif block:
            await self._sink.write(block)

    async def whole(self, status: int, body: bytes, label: str) -> None:
        """Send a complete JSON response."""
        kept = body
        if self.guard is not None and status == 200:
            body, kept = self.guard.on_body(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._start(status, headers, label)
        if status == 200:
            self._record.first_token()
        if self._keeps:
            self._keep(kept)
        self.finished = True
        await self._sink.end(body)

    async def broken(self, error: errors.ApiError) -> None:
        """End a stream that failed; its last event is the error."""
        await self.unguarded()
        self.finished = True
        await self._sink.end(sse.error_event(error))

    async def unguarded(self) -> None:
        """Send the held events and remove the guard: what follows is our own text."""
        held, self.guard = self.guard.release() if self.guard else b"", None
        if held:
            await self._sink.write(held)

    async def stopped(self, closing: bytes, kept: bytes) -> None:
        """End an unsafe stream; `kept` replaces all that was kept of it."""
        self.guard = None
        if self._keeps:
            self.sent = [kept]
        self.finished = True
        await self._sink.end(closing)

    async def _start(self, status: int, headers: Headers, label: str) -> None:
        self._record.status = status
        self.started, self.label = True, label
        headers = [*headers, *self._headers, (MODEL_HEADER, label.encode())]
        if self._record.cache is not None:
            headers.append((CACHE_HEADER, self._record.cache.encode()))
        if self.degraded:
            headers.append((DEGRADED_HEADER, self.degraded.encode()))
        await self._sink.start(status, headers)

    def _keep(self, block: bytes) -> None:
        self._kept_bytes += len(block)
        if self._kept_bytes > KEEP_BYTES:
            self._keeps = False
            self.sent.clear()
        else:
            self.sent.append(block)
