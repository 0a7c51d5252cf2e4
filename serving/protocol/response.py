"""Writes the response to one client and remembers what was sent.

It does not know which model answers, so another model can continue a stream that broke.
"""

from starlette.types import Send

from serving import errors
from serving.protocol.record import RequestRecord

MODEL_HEADER, CACHE_HEADER = b"x-bondhu-model", b"x-bondhu-cache"
DEGRADED_HEADER = b"x-bondhu-degraded"
KEEP_BYTES = 1 << 20  # a longer response can neither be continued by another model nor cached


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
            await self._start(200, [(b"content-type", b"text/event-stream; charset=utf-8")], label)
            self._record.first_token()
        if self._keeps:
            self._keep(events)
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self) -> None:
        """End a complete stream."""
        self.finished = True
        await self._send({"type": "http.response.body", "body": b""})

    async def whole(self, status: int, body: bytes, label: str) -> None:
        """Send a complete JSON response."""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._start(status, headers, label)
        if status == 200:
            self._record.first_token()
        if self._keeps:
            self._keep(body)
        self.finished = True
        await self._send({"type": "http.response.body", "body": body})

    async def broken(self, error: errors.ApiError) -> None:
        """End a stream that failed; its last event is the error."""
        self.finished = True
        await self._send({"type": "http.response.body", "body": errors.stream_event(error)})

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
