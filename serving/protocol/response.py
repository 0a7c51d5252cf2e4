"""What has gone to one client so far, and the way to send it more.

It does not know who answers; whoever does calls it, so that a stream can be gone on with by another.
"""

from starlette.types import Send

from serving import errors
from serving.protocol.record import RequestRecord

MODEL_HEADER, CACHE_HEADER = b"x-bondhu-model", b"x-bondhu-cache"
DEGRADED_HEADER = b"x-bondhu-degraded"
KEEP_BYTES = 1 << 20  # of an answer; a longer one cannot be continued by another model, nor cached


class ResponseWriter:
    """One HTTP response in the making.

    Args:
        send: ASGI's.
        entry: the request's in the ledger: told of the status and of the first token.
        headers: to be sent beside the reply's own.
        keeps: whether to remember what was sent, so that another model could continue it, or the cache keep it.

    """

    def __init__(self, send: Send, entry: RequestRecord, headers: list[tuple[bytes, bytes]], *, keeps: bool) -> None:
        self._send = send
        self._entry = entry
        self._headers = headers
        self._keeps = keeps
        self._kept_bytes = 0
        self.sent: list[bytes] = []  # a stream's events, or a body
        self.label = ""  # who answers
        self.degraded = ""  # why it is not all that was asked for; the client is told, unless it has started
        self.started = False  # the status line is out
        self.answered = False  # the last byte has been handed to the server

    @property
    def is_kept(self) -> bool:
        """Whether `sent` is all that was sent."""
        return self._keeps

    def goes_on(self, sent: list[bytes]) -> None:
        """The client has these events of the stream already, from a gateway worker that is gone."""
        self.started = True
        self._entry.status = 200
        for events in sent:
            if self._keeps:
                self._keep(events)

    def add_header(self, name: bytes, value: bytes) -> None:
        """Tell the client more; too late once the reply has started."""
        self._headers.append((name, value))

    async def event(self, events: bytes, label: str) -> None:
        """Send a part of a stream: whole events. `label` is who answers; it holds for the first part only."""
        if not self.started:
            await self._start(200, [(b"content-type", b"text/event-stream; charset=utf-8")], label)
            self._entry.first_token()
        if self._keeps:
            self._keep(events)
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self) -> None:
        """The stream is complete."""
        self.answered = True
        await self._send({"type": "http.response.body", "body": b""})

    async def whole(self, status: int, body: bytes, label: str) -> None:
        """Send a complete JSON answer."""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._start(status, headers, label)
        if status == 200:
            self._entry.first_token()
        if self._keeps:
            self._keep(body)
        self.answered = True
        await self._send({"type": "http.response.body", "body": body})

    async def broken(self, error: errors.ApiError) -> None:
        """End a stream that cannot go on: its last event tells why."""
        self.answered = True
        await self._send({"type": "http.response.body", "body": errors.stream_event(error)})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]], label: str) -> None:
        self._entry.status = status
        self.started, self.label = True, label
        headers = [*headers, *self._headers, (MODEL_HEADER, label.encode())]
        if self._entry.cache is not None:
            headers.append((CACHE_HEADER, self._entry.cache.encode()))
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
