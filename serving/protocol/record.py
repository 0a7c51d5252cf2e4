"""One request in the ledger: begun once, updated while it runs, ended exactly once.

It does not know files or SQL: `end` passes its fields to a callback.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from serving.errors import ApiError
from serving.protocol.usage import Segment, Usage
from storage.tables import CacheUse, Outcome

log = logging.getLogger(__name__)

NOTHING = Usage()
_OUTCOMES: dict[int, Outcome] = {408: "aborted", 429: "rate_limited", 503: "unavailable", 504: "timeout"}


class RequestRecord:
    """A request that has begun.

    As a context manager it always ends the request: a cancelled one as `aborted`, an ApiError by its status, anything
    else (also leaving without `end`) as `internal_error`.

    `prompt_tokens`, `cached_tokens` and `completion_tokens` are updated as soon as the engine reports them, so that an
    aborted request has them too. `segments` are the models that answered, `status` is the HTTP status sent, `is_free`
    means that no model was called.
    """

    __slots__ = (
        "_beside",
        "_clock",
        "_closed",
        "_fields",
        "_number_of_parts",
        "_on_end",
        "_started_s",
        "_ttft_s",
        "cache",
        "cached_tokens",
        "completion_tokens",
        "counting",
        "is_free",
        "prompt_tokens",
        "segments",
        "status",
        "steps",
    )

    def __init__(
        self,
        fields: dict[str, Any],
        clock: Callable[[], float],
        on_end: "Callable[[RequestRecord, dict[str, Any]], None]",
    ) -> None:
        self._fields = fields
        self._clock = clock
        self._on_end = on_end
        self._started_s = clock()
        self._ttft_s: float | None = None
        self._closed = False
        self._number_of_parts = 0
        self._beside: list[RequestRecord] = []
        self.is_free = False
        self.segments: list[Segment] = []
        self.steps: Sequence[Mapping[str, Any]] = ()  # of an agent's run, until it ends
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.cache: CacheUse | None = None
        self.status: int | None = None
        self.counting: Callable[[], Usage] | None = None  # usage so far of the engine that is generating

    @property
    def id(self) -> str:
        """The gateway's own id of the request; unlike the client's, it is unique."""
        return str(self._fields["id"])

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that were known when it began, by column."""
        return self._fields

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._started_s

    def first_token(self) -> None:
        """Note that the first token was sent now; later calls have no effect."""
        if self._ttft_s is None:
            self._ttft_s = self._clock() - self._started_s

    def so_far(self, earlier: Usage = NOTHING) -> Usage:
        """The usage so far, including that of the engine that is generating, after that of an `earlier` worker."""
        running = self.counting() if self.counting else NOTHING
        return Usage(
            earlier.prompt_tokens or self.prompt_tokens or running.prompt_tokens,
            earlier.cached_tokens or self.cached_tokens,
            earlier.completion_tokens + self.completion_tokens + running.completion_tokens,
        )

    def segment(
        self,
        model: str,
        revision: str,
        quantization: str,
        *,
        usage: Usage,
        reason: str,
        engine_s: float,
        base: str | None = None,
        adapter: str | None = None,
    ) -> Segment:
        """A segment for the tokens that follow those noted so far; it is not added to the record."""
        first = self.completion_tokens
        return Segment(
            model=model,
            revision=revision,
            quantization=quantization,
            from_token=first,
            to_token=first + usage.completion_tokens,
            reason=reason,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            engine_s=engine_s,
            base=base,
            adapter=adapter,
        )

    def add(self, segment: Segment, *, continues: bool) -> None:
        """Add a segment; the prompt of one that continues an answer is not the client's prompt and is not counted."""
        self.segments.append(segment)
        self.completion_tokens = segment.to_token
        if not continues:
            self.prompt_tokens, self.cached_tokens = segment.prompt_tokens, segment.cached_tokens

    def part(self) -> "RequestRecord":
        """A record for a part of this request; its usage is added to this record when it ends."""
        return self._of_call(self._absorb)

    def beside(self) -> "RequestRecord":
        """A record like `part` for a call that is none of the response: its usage is added when this record ends."""
        return self._of_call(lambda call, _: self._beside.append(call))

    def _of_call(self, on_end: "Callable[[RequestRecord, dict[str, Any]], None]") -> "RequestRecord":
        self._number_of_parts += 1
        return RequestRecord({**self._fields, "id": f"{self.id}.{self._number_of_parts}"}, self._clock, on_end)

    def _absorb(self, part: "RequestRecord", _: dict[str, Any]) -> None:
        first = self.completion_tokens
        self.segments += [
            replace(segment, from_token=first + segment.from_token, to_token=first + segment.to_token)
            for segment in part.segments
        ]
        self.prompt_tokens += part.prompt_tokens
        self.cached_tokens += part.cached_tokens
        self.completion_tokens += part.completion_tokens

    def end(self, outcome: Outcome, *, error_code: str | None = None) -> None:
        """End the request. A second call is a bug: it is logged and has no effect."""
        if self._closed:
            log.error("request %s ended twice, the second time as %s", self.id, outcome)
            return
        self._closed = True
        model = self.segments[-1].model if self.segments else None
        for part in self._beside:
            self._absorb(part, {})
        ended = {
            "segments": self.segments,
            "steps": list(self.steps) or None,
            "model": model,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "cache": self.cache,
            "outcome": outcome,
            "status": self.status,
            "error_code": error_code,
            "latency_s": self._clock() - self._started_s,
            "ttft_s": self._ttft_s,
        }
        self._on_end(self, ended)

    def __enter__(self) -> Self:
        """Return self; the request began when the record was made."""
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """End the request unless it has ended."""
        if self._closed:
            return
        if isinstance(error, asyncio.CancelledError):
            self.end("aborted")
        elif isinstance(error, ApiError):
            self.status = self.status or error.status
            self.end(outcome_of(error.status), error_code=error.code)
        else:
            if error is None:
                log.error("request %s was not ended", self.id)
            self.status = self.status or 500
            self.end("internal_error")


def outcome_of(status: int) -> Outcome:
    """The ledger's outcome for an HTTP status, when nothing more precise is known."""
    if status < 400:
        return "ok"
    return _OUTCOMES.get(status, "client_error" if status < 500 else "engine_error")
