"""One request in the ledger: begun once, filled in while it runs, ended exactly once.

It does not know files or SQL: `end` hands its fields to whoever made it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from serving.errors import ApiError
from serving.protocol.usage import Segment, Usage
from storage.tables import CacheUse, Outcome

log = logging.getLogger(__name__)

_OUTCOMES: dict[int, Outcome] = {429: "rate_limited", 503: "unavailable", 504: "timeout"}


class RequestRecord:
    """A begun request.

    As a context manager it ends whatever the request came to: a cancelled one as `aborted`, an ApiError by its status,
    anything else (also leaving without `end`) as `internal_error`.

    What the engine counted goes into `prompt_tokens`, `cached_tokens` and `completion_tokens` as soon as it is known,
    so that a request that is cut off has it too; who answered goes into `segments`, `status` is the HTTP status sent.
    `is_free` says that it was answered without asking any model.
    """

    __slots__ = (
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
        self.is_free = False
        self.segments: list[Segment] = []
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.cache: CacheUse | None = None
        self.status: int | None = None
        self.counting: Callable[[], Usage] | None = None  # what the engine that is answering has told so far

    @property
    def id(self) -> str:
        """The gateway's own id of the request: unlike the client's it never repeats."""
        return str(self._fields["id"])

    @property
    def fields(self) -> dict[str, Any]:
        """What was known when it began, by column."""
        return self._fields

    def first_token(self) -> None:
        """The first token went to the client now; later calls change nothing."""
        if self._ttft_s is None:
            self._ttft_s = self._clock() - self._started_s

    def so_far(self) -> Usage:
        """The tokens noted, and those of the engine that is answering."""
        running = self.counting() if self.counting else Usage()
        return Usage(
            self.prompt_tokens or running.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens + running.completion_tokens,
        )

    def segment(
        self, model: str, revision: str, quantization: str, *, usage: Usage, reason: str, engine_s: float
    ) -> Segment:
        """What a model did, if it made the tokens that follow those noted so far."""
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
        )

    def add(self, segment: Segment, *, continues: bool) -> None:
        """Note a segment; one that continues an answer had to read it again, which is no prompt of the client's."""
        self.segments.append(segment)
        self.completion_tokens = segment.to_token
        if not continues:
            self.prompt_tokens, self.cached_tokens = segment.prompt_tokens, segment.cached_tokens

    def part(self) -> "RequestRecord":
        """An entry of something that is done for this request; what it took becomes this one's when it ends."""
        self._number_of_parts += 1
        return RequestRecord({**self._fields, "id": f"{self.id}.{self._number_of_parts}"}, self._clock, self._take_in)

    def _take_in(self, part: "RequestRecord", _: dict[str, Any]) -> None:
        first = self.completion_tokens
        self.segments += [
            replace(each, from_token=first + each.from_token, to_token=first + each.to_token) for each in part.segments
        ]
        self.prompt_tokens += part.prompt_tokens
        self.cached_tokens += part.cached_tokens
        self.completion_tokens += part.completion_tokens

    def end(self, outcome: Outcome, *, error_code: str | None = None) -> None:
        """It is over. A second call is a bug: it is logged and changes nothing."""
        if self._closed:
            log.error("request %s ended twice, the second time as %s", self.id, outcome)
            return
        self._closed = True
        ended = {
            "segments": self.segments,
            "model": self.segments[-1].model if self.segments else None,
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
        """Nothing to do: it began when it was made."""
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """End it, unless that has been done."""
        if self._closed:
            return
        if isinstance(error, asyncio.CancelledError):
            self.end("aborted")
        elif isinstance(error, ApiError):
            self.status = self.status or error.status
            self.end(outcome_of(error.status), error_code=error.code)
        else:
            if error is None:
                log.error("request %s was left without an end", self.id)
            self.status = self.status or 500
            self.end("internal_error")


def outcome_of(status: int) -> Outcome:
    """What an HTTP status means for the ledger, where nothing better is known."""
    if status < 400:
        return "ok"
    return _OUTCOMES.get(status, "client_error" if status < 500 else "engine_error")
