"""Writes the response to one client and remembers what was sent.

It does not know which model answers, so another model can continue a stream that broke.
"""

from typing import Protocol

from starlette.types import Send

from serving import errors
from serving.protocol import sse
from serving.protocol.record import RequestRecord

MODEL_HEADER, CACHE_HEADER = b"x-bondhu-model", b"x-bondhu-cache"
DEGRADED_HEADER = b"x-bondhu-degraded"
KEEP_BYTES = 1 << 20  # a longer response can neither be continued by another model nor cached


class Guard(Protocol):
    """Checks a reply on its way to the client, and adds text around it (`serving.safety.reply_guard`)."""

    def on_body(self, body: bytes) -> tuple[bytes, bytes]:
        """Return the body to send, and the one to keep."""

    def on_events(self, block: bytes) -> bytes:
        """Return the events to send, which may be none yet; raises if the reply is unsafe."""

    def release(self) -> bytes:
        """Return the held events."""


class ResponseWriter:
    """One HTTP response.

    Args:
        send: ASGI's `send`.
        record: the request's record, which gets the status and the time of the first token.
        headers: additional headers.
        keeps: whether to remember what was sent, for a continuation or for the cache.

    """

    def __init__(self, send: Send, record: RequestRecord, headers: list[tuple[bytes, bytes]], *, keeps: bool) -> None:
        self._send = send
        self._record = record
        self._headers = headers
        self._keeps = keeps
        self._kept_bytes = 0
        self.guard: Guard | None = None  # `sent` is what came to it
        self.sent: list[bytes] = []  # a stream's events, or a body
        self.label = ""  # the model that answers
        self.degraded = ""  # why the response is degraded; sent as a header if set before the start
        self.started = False  # the status line was sent
        self.finished = False  # the last byte was passed to the server

    @property
    def is_kept(self) -> bool:
        """Whether `sent` is complete."""
        return self._keeps

    def resume(self, sent: list[bytes]) -> None:
        """Resume a stream of which the client has received `sent` from a worker that is gone."""
        self.started = True
        self._record.status = 200
        for events in sent:
            if self._keeps:
                self._keep(events)

    def add_header(self, name: bytes, value: bytes) -> None:
        """Add a header; has no effect once the response has started."""
        self._headers.append((name, value))

    async def event(self, events: bytes, label: str) -> None:
        """Send whole events of a stream; `label` is the model that answers and only used in the first call."""
        if not self.started:
            await self._start(200, [*sse.HEADERS], label)
            self._record.first_token()
        if self._keeps:
            self._keep(events)
        if self.guard is not None:
            events = self.guard.on_events(events)
        if events:
            await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self) -> None:
        """End a complete stream."""
        self.finished = True
        await self._send({"type": "http.response.body", "body": b""})

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
        await self._send({"type": "http.response.body", "body": body})

    async def broken(self, error: errors.ApiError) -> None:
        """End a stream that failed; its last event is the error."""
        await self.unguarded()
        self.finished = True
        await self._send({"type": "http.response.body", "body": errors.stream_event(error)})

    async def unguarded(self) -> None:
        """Send the held events and remove the guard: what follows is our own text."""
        held, self.guard = self.guard.release() if self.guard else b"", None
        if held:
            await self._send({"type": "http.response.body", "body": held, "more_body": True})

    async def stopped(self, closing: bytes, kept: bytes) -> None:
        """End an unsafe stream; `kept` replaces all that was kept of it."""
        self.guard = None
        if self._keeps:
            self.sent = [kept]
        await self._send({"type": "http.response.body", "body": closing, "more_body": True})
        await self.end()

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]], label: str) -> None:
        self._record.status = status
        self.started, self.label = True, label
        headers = [*headers, *self._headers, (MODEL_HEADER, label.encode())]
        if self._record.cache is not None:
            headers.append((CACHE_HEADER, self._record.cache.encode()))
        if self.degraded:
            headers.append((DEGRADED_HEADER, self.degraded.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _keep(self, events: bytes) -> None:
        self._kept_bytes += len(events)
        if self._kept_bytes > KEEP_BYTES:
            self._keeps = False
            self.sent.clear()
        else:
            self.sent.append(events)
