"""One reader of a recording: the response object of requests that are shared or can be resumed.

Its request has a record in the ledger. If it reads another request's generation, its row has no tokens. If nobody
generates (yet, or any more), one of the readers passes on its record, and its request generates. This module does not
know where the recording comes from.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import errors
from serving.generation.pipeline import Generation, SentEvents
from serving.protocol.disconnect import Disconnect
from serving.protocol.record import RequestRecord, outcome_of
from serving.protocol.request import GenerationRequest
from serving.streams.policy import with_ids
from serving.streams.recording import Head, Headers, Recording
from storage.tables import CacheUse, Outcome

LIMIT_HEADERS = b"x-ratelimit-"
STREAM = b"text/event-stream"
_OUTCOMES: dict[str | None, Outcome] = {"engine_timeout": "timeout", "shutting_down": "unavailable"}

Generate = Callable[[GenerationRequest, RequestRecord, SentEvents | None, bool], Generation]


class RecordingResponse(Response):
    """Sends the events of a recording.

    Args:
        recording: the recording.
        record: the request's record in the ledger.
        generate: makes its generation, if it has to generate.
        reserve: counts the request in the limits and returns their headers; None: not counted.
        linger_s: seconds of generation after the client left; None: as the recording says.
        use: value of the record's `cache` if it only reads.
        next_event: number of the first event that the client has not received.

    Raises (when called, before anything was sent):
        ApiError: a limit refuses it.

    """

    def __init__(
        self,
        recording: Recording,
        *,
        record: RequestRecord,
        generate: Generate,
        reserve: Callable[[str], Awaitable[dict[str, str]]] | None,
        linger_s: float | None,
        use: CacheUse,
        next_event: int = 0,
    ) -> None:
        super().__init__()
        self.linger_s = linger_s
        self.next_event = next_event
        self._recording = recording
        self._record: RequestRecord | None = record
        self._generate = generate
        self._reserve = reserve
        self._use = use
        self._finished = False
        recording.join(self)  # must come before the recording's task looks for readers

    def make_generation(self, request: GenerationRequest, sent: SentEvents | None) -> Generation | None:
        """Make a generation with this request's record; None if its record was passed on before."""
        record, self._record = self._record, None
        if record is None:
            return None
        record.cache = None
        return self._generate(request, record, sent, self._recording.is_resumable)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; returns early if the client disconnects."""
        try:
            with Disconnect(scope, receive, lambda: self._finished) as disconnect:
                try:
                    await self._pass_on(send)
                except asyncio.CancelledError:
                    if not disconnect.absorbs():
                        raise  # the server is shutting down
                    self._end("aborted")
        finally:
            self._recording.leave(self)
            if self._record is not None:
                self._record.__exit__(*sys.exc_info())

    async def _pass_on(self, send: Send) -> None:
        recording = self._recording
        while recording.head is None:
            if recording.end is not None:
                raise errors.ShuttingDown
            await recording.news()
        head = recording.head
        headers = await self._headers_of(head)
        await send({"type": "http.response.start", "status": head.status, "headers": headers})
        streams = any(name == b"content-type" and value.startswith(STREAM) for name, value in headers)
        if not streams:  # an error instead of the stream that the client resumes, of which it has received nothing
            self.next_event = 0
        last = b""
        try:
            while True:
                first = self.next_event
                if events := recording.take(self):
                    self._note_token(head.status)
                    last = events
                    sent = with_ids(events, recording.id, first) if recording.is_resumable and streams else events
                    self._finished = not streams and recording.is_over_for(self)
                    await send({"type": "http.response.body", "body": sent, "more_body": not self._finished})
                elif recording.is_over_for(self):
                    break
                else:
                    await recording.news()
            if recording.end != "complete":
                raise errors.ShuttingDown
        except errors.ApiError as problem:  # the status was sent: the error becomes the last event
            last = errors.stream_event(problem)
            await send({"type": "http.response.body", "body": last, "more_body": True})
        if not self._finished:
            self._finished = True
            await send({"type": "http.response.body", "body": b""})
        self._end_as(head.status, _code_within(last))

    async def _headers_of(self, head: Head) -> Headers:
        """The recording's headers, with this request's own limits."""
        record = self._record
        if record is None:
            return list(head.headers)  # a copy, because middleware changes the list
        own: Headers = []
        if self._reserve is not None and head.status == 200:
            own = [(name.encode(), value.encode()) for name, value in (await self._reserve(record.id)).items()]
        record.status = head.status
        record.cache = self._use
        return [header for header in head.headers if not header[0].startswith(LIMIT_HEADERS)] + own

    def _note_token(self, status: int) -> None:
        if self._record is not None and status == 200:
            self._record.first_token()

    def _end_as(self, status: int, code: str | None) -> None:
        if status != 200:
            self._end(outcome_of(status), code)
        elif code is None:
            self._end("ok")
        else:
            self._end(_OUTCOMES.get(code, "engine_error"), code)

    def _end(self, outcome: Outcome, code: str | None = None) -> None:
        if self._record is not None:
            self._record.end(outcome, error_code=code)
            self._record = None


def _code_within(last: bytes) -> str | None:
    """The code of the error event at the end of a response; None without one."""
    event = last.rstrip().rpartition(b"\n\n")[2].removeprefix(b"data: ")
    if not event.startswith(b'{"error"'):
        return None
    code = orjson.loads(event)["error"]["code"]
    return None if code is None else str(code)
