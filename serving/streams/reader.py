"""One reader of a recording: the response to a request that is shared or can be resumed.

Its request has a record in the ledger. If it reads another request's generation, its row has no tokens. If nobody
generates (yet, or any more), one of the readers gives its record to the generation. This module does not know where the
recording comes from.
"""

import sys
from typing import Protocol

import orjson

from serving import errors
from serving.generation.planner import Terms
from serving.protocol.record import RequestRecord, outcome_of
from serving.protocol.response import Headers, Sink
from serving.protocol.sse import DATA, END, ERROR, error_event, is_stream, with_ids
from serving.resilience.tasks import CancelScope
from serving.streams.recording import Head, Recording
from storage.tables import CacheUse, Outcome

LIMIT_HEADERS = b"x-ratelimit-"
_OUTCOMES: dict[str | None, Outcome] = {"engine_timeout": "timeout", "shutting_down": "unavailable"}


class Counter(Protocol):
    """The limits: see `serving.limits.limiter.Limiter`."""

    async def count(self, app: str, user: str | None, tier: str, request_id: str, requests: int = 1) -> dict[str, str]:
        """Count a request without tokens and return the headers of its response; raises ApiError."""


class RecordingReader:
    """Sends the events of a recording; a `serving.protocol.response.Source`.

    Args:
        recording: the recording.
        record: the request's record in the ledger.
        terms: who sends it, and what it may use if it has to generate.
        limits: count it if it only reads.
        linger_s: seconds of generation after the client left; None: as the recording says.
        use: value of the record's `cache` if it only reads.
        requests: how many requests it counts as.
        next_event: number of the first event that the client has not received.

    """

    def __init__(
        self,
        recording: Recording,
        *,
        record: RequestRecord,
        terms: Terms,
        limits: Counter,
        linger_s: float | None,
        use: CacheUse,
        requests: int = 1,
        next_event: int = 0,
    ) -> None:
        self.linger_s = linger_s
        self.next_event = next_event
        self.terms = terms
        self._recording = recording
        self._record: RequestRecord | None = record
        self._limits = limits
        self._use = use
        self._requests = requests
        self._scope = CancelScope()
        self._finished = False
        recording.join(self)

    def give_record(self) -> RequestRecord | None:
        """Give the record to a generation; None if it was given before."""
        record, self._record = self._record, None
        if record is not None:
            record.cache = None
        return record

    def abandon(self) -> None:
        """Stop: the client has left; a complete response is still recorded as complete."""
        if not self._finished:
            self._scope.cancel()

    async def run(self, sink: Sink) -> None:
        """Send the response to `sink`; returns early if it is abandoned.

        Raises, before anything was sent:
            ApiError: a limit refuses it.
        """
        try:
            with self._scope:
                await self._pass_on(sink)
            if self._scope.was_cut:
                self._end("aborted")
        finally:
            self._recording.leave(self)
            if self._record is not None:
                self._record.__exit__(*sys.exc_info())

    async def _pass_on(self, sink: Sink) -> None:
        recording = self._recording
        while recording.head is None:
            if recording.ended is not None:
                raise errors.ShuttingDown
            await recording.news()
        head = recording.head
        headers = await self._headers_of(head)
        await sink.start(head.status, headers)
        streams = is_stream(headers)
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
                    self._finished = recording.is_over_for(self) and (not streams or recording.ended == "complete")
                    await (sink.end(sent) if self._finished else sink.write(sent))
                elif recording.is_over_for(self):
                    break
                else:
                    await recording.news()
            if recording.ended != "complete":
                raise errors.ShuttingDown
        except errors.ApiError as problem:  # the status was sent: the error becomes the last event
            last = error_event(problem)
            await sink.write(last)
        if not self._finished:
            self._finished = True
            await sink.end()
        self._end_as(head.status, _code_within(last))

    async def _headers_of(self, head: Head) -> Headers:
        """The recording's headers, with this request's own limits."""
        record = self._record
        if record is None:
            return list(head.headers)
        own: Headers = []
        if head.status == 200:  # its record may generate later, so this reservation gets another id
            terms = self.terms
            counted = await self._limits.count(terms.app, terms.user, terms.tier, f"{record.id}.0", self._requests)
            own = [(name.encode(), value.encode()) for name, value in counted.items()]
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
    """The code of the error at the end of a stream, or in a body; None without one."""
    event = last.rstrip().rpartition(END)[2].removeprefix(DATA)
    if not event.startswith(ERROR.removeprefix(DATA)):
        return None
    code = orjson.loads(event)["error"]["code"]
    return None if code is None else str(code)
