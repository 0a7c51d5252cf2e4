"""Reads the engine's token counts from its response while the response is forwarded.

The engine reports its counts in every event (vLLM's `continuous_usage_stats`), so that they are known even if a stream
breaks. The client receives only what it requested: all counts, the last ones (with `"usage":null` in the others, as
OpenAI has it), or none. A whole answer is vLLM's compact JSON, in which a `"usage"` key is unambiguous: inside a string
its quotes would be escaped. An answer that the engine has cut off because it is being stopped (vLLM's finish reason
`abort`) is none. This module does not know what the counts are used for.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from serving.protocol.sse import DATA, DONE, END, Event, Json
from serving.protocol.usage import Usage, read_usage

_COUNTS = re.compile(rb',"usage":(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_DONE = DONE.removesuffix(END)
_ABORT = "abort"  # what vLLM gives all requests that run when it gets SIGTERM (its `--shutdown-timeout` is 0)
_ABORTED = b'"finish_reason":"abort"'


def usage_of_body(body: bytes) -> Usage:
    """The counts of a complete response."""
    match = None
    for match in _COUNTS.finditer(body):  # noqa: B007  # keeps the last match
        pass
    return Usage() if match is None else read_usage(orjson.loads(match[1]))


def is_aborted(body: bytes) -> bool:
    """Whether the engine cut off a complete response because it is being stopped."""
    return _ABORTED in body


def with_running_counts(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a streaming request, changed so that every event has the counts."""
    options = {**(parsed.get("stream_options") or {}), "include_usage": True, "continuous_usage_stats": True}
    return {**parsed, "stream_options": options}


class StreamMeter:
    """Extracts the counts from a stream's bytes.

    Args:
        stream_options: the request's own, which say whether the counts stay in the stream.

    Attributes:
        is_complete: the stream's last event was received.
        has_error: an event is an error.
        problem: why an event is not forwarded, nor any later one: it could not be parsed, or the engine is stopping.

    """

    def __init__(self, stream_options: Mapping[str, Any] | None) -> None:
        options = stream_options or {}
        self._wants_last = bool(options.get("include_usage"))
        self._wants_all = self._wants_last and bool(options.get("continuous_usage_stats"))
        self.is_complete = False
        self.has_error = False
        self.problem: str | None = None
        self._usage_by_choice: dict[int, Json] = {}  # each with the choice's own completion tokens
        self._total: Json | None = None
        self._rest = b""

    @property
    def usage(self) -> Usage:
        """The usage in the events so far."""
        if self._total:
            return read_usage(self._total)
        usages = [read_usage(usage) for usage in self._usage_by_choice.values()]
        if not usages:
            return Usage()
        return Usage(usages[0].prompt_tokens, usages[0].cached_tokens, sum(usage.completion_tokens for usage in usages))

    def feed(self, block: bytes) -> list[Event]:
        """The events to forward to the client: those that are complete."""
        *events, self._rest = (self._rest + block).split(END)
        return [event for data in events if data and (event := self._event(data)) is not None]

    def _event(self, data: bytes) -> Event | None:
        if self.problem or data.startswith(b":"):  # a comment of the engine's, which keeps its connection alive
            return None
        if data == _DONE:
            self.is_complete = True
            return Event(DONE)
        try:
            chunk = orjson.loads(data.removeprefix(DATA))
        except orjson.JSONDecodeError as problem:
            self.problem = f"an event is not valid JSON: {problem}"
            return None
        if not isinstance(chunk, dict):
            self.problem = "an event is not an object"
            return None
        usage = chunk.get("usage")
        choices: list[Json] = chunk.get("choices") or []
        if choices and choices[0].get("finish_reason") == _ABORT:
            self.problem = "it is being stopped, and aborted the request"
            return None
        if usage and not choices:  # the event that only has the final counts
            self._total = usage
            return Event(data + END, chunk) if self._wants_last else None
        if not usage or self._wants_all:
            self.has_error = self.has_error or "error" in chunk
            event = Event(data + END, chunk)
        else:
            if self._wants_last:
                chunk["usage"] = None
            else:
                del chunk["usage"]
            event = Event(DATA + orjson.dumps(chunk) + END, chunk)
        if usage:
            self._usage_by_choice[choices[0].get("index", 0)] = usage
        return event
