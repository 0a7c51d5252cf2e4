"""One client's reading of a recording: the response object of requests that are shared or can be resumed.

Its request is in the ledger. While another request's generation is read, its row has no tokens; when nobody generates
(yet, or any more), one of the readers gives its entry away and its request is the one that does. It does not know where
the recording comes from.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import errors
from serving.generation.pipeline import Generation, Sent
from serving.protocol.record import RequestRecord, outcome_of
from serving.protocol.request import GenerationRequest
from serving.streams.policy import with_ids
from serving.streams.recording import Head, Headers, Recording
from storage.tables import CacheUse, Outcome

LIMIT_HEADERS = b"x-ratelimit-"
STREAM = b"text/event-stream"
_OUTCOMES: dict[str | None, Outcome] = {"engine_timeout": "timeout", "shutting_down": "unavailable"}

Generate = Callable[[GenerationRequest, RequestRecord, Sent | None, bool], Generation]


class RecordingResponse(Response):
    """Answers with what is on `recording`.

    Args:
        recording: the recording.
        entry: the request's in the ledger, begun.
        generate: how its answer is generated, if it comes to that.
        reserve: takes the request from the limits and returns their headers; None for a request that is not counted.
        linger_s: how long the answer is wanted after the client left; None: as long as the recording says.
        use: what the entry says when it was read and not generated.
        next_event: the first event that the client has not had.

    Raises (when called, before anything was sent):
        ApiError: a limit refuses it.

    """

    def __init__(
        self,
        recording: Recording,
        *,
        entry: RequestRecord,
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
        self._entry: RequestRecord | None = entry
        self._generate = generate
        self._reserve = reserve
        self._use = use
        self._answered = False
        recording.join(self)  # before the recording's own task looks for readers

    def give(self, call: GenerationRequest, sent: Sent | None) -> Generation | None:
        """The generation of its answer, with its entry; None when that has been given before."""
        entry, self._entry = self._entry, None
        if entry is None:
            return None
        entry.cache = None
        return self._generate(call, entry, sent, self._recording.is_resumable)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns early when the client leaves."""
        reading = asyncio.current_task()
        assert reading is not None, "a server runs every request in a task"
        departure = asyncio.create_task(self._on_departure(receive, reading))
        try:
            await self._pass_on(send)
        except asyncio.CancelledError:
            if not departure.done():
                raise  # the server is shutting down
            reading.uncancel()
            self._end("aborted")
        finally:
            departure.cancel()
            self._recording.leave(self)
            if self._entry is not None:
                self._entry.__exit__(*sys.exc_info())

    async def _on_departure(self, receive: Receive, reading: "asyncio.Task[None]") -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._answered:
            reading.cancel()

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
        last = b""
        try:
            while True:
                first = self.next_event
                if events := recording.take(self):
                    self._note_token(head.status)
                    last = events
                    sent = with_ids(events, recording.id, first) if recording.is_resumable and streams else events
                    self._answered = not streams and recording.is_over_for(self)
                    await send({"type": "http.response.body", "body": sent, "more_body": not self._answered})
                elif recording.is_over_for(self):
                    break
                else:
                    await recording.news()
            if recording.end != "complete":
                raise errors.ShuttingDown
        except errors.ApiError as problem:  # the status is out: a stream tells it as its last event
            last = errors.stream_event(problem)
            await send({"type": "http.response.body", "body": last, "more_body": True})
        if not self._answered:
            self._answered = True
            await send({"type": "http.response.body", "body": b""})
        self._end_as(head.status, _code_within(last))

    async def _headers_of(self, head: Head) -> Headers:
        """The recording's, with limits that are this request's own."""
        entry = self._entry
        if entry is None:
            return list(head.headers)  # middleware changes what it is given
        own: Headers = []
        if self._reserve is not None and head.status == 200:
            own = [(name.encode(), value.encode()) for name, value in (await self._reserve(entry.id)).items()]
        entry.status = head.status
        entry.cache = self._use
        return [each for each in head.headers if not each[0].startswith(LIMIT_HEADERS)] + own

    def _note_token(self, status: int) -> None:
        if self._entry is not None and status == 200:
            self._entry.first_token()

    def _end_as(self, status: int, code: str | None) -> None:
        if status != 200:
            self._end(outcome_of(status), code)
        elif code is None:
            self._end("ok")
        else:
            self._end(_OUTCOMES.get(code, "engine_error"), code)

    def _end(self, outcome: Outcome, code: str | None = None) -> None:
        if self._entry is not None:
            self._entry.end(outcome, error_code=code)
            self._entry = None


def _code_within(last: bytes) -> str | None:
    """The code of the error that an answer ends with; None when it does not."""
    event = last.rstrip().rpartition(b"\n\n")[2].removeprefix(b"data: ")
    if not event.startswith(b'{"error"'):
        return None
    code = orjson.loads(event)["error"]["code"]
    return None if code is None else str(code)
