"""Reads the engine's token counts from its response while the response is forwarded.

The engine reports its counts in every event (vLLM's `continuous_usage_stats`), so that they are known even if a stream
breaks. The client receives only what it requested: all counts, the last ones (with `"usage":null` in the others, as
OpenAI has it), or none. Events are vLLM's compact JSON, in which a `"usage"` key is unambiguous: inside a string its
quotes would be escaped. This module does not know what the counts are used for.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from serving.protocol.sse import DATA, DONE, END
from serving.protocol.usage import Usage, read_usage

_COUNTS = re.compile(rb',"usage":(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_CHOICE = re.compile(rb'"choices":\[\{"index":(\d+)')
_LAST = b'"choices":[],'  # the event that only has the final counts
_NONE = b',"usage":null'
_DONE = DONE.removesuffix(END)


def usage_of_body(body: bytes) -> Usage:
    """The counts of a complete response."""
    match = None
    for match in _COUNTS.finditer(body):  # noqa: B007  # keeps the last match
        pass
    return Usage() if match is None else read_usage(orjson.loads(match[1]))


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
        problem: why an event could not be parsed; it and all later ones are not forwarded.

    """

    def __init__(self, stream_options: Mapping[str, Any] | None) -> None:
        options = stream_options or {}
        self._wants_last = bool(options.get("include_usage"))
        self._wants_all = self._wants_last and bool(options.get("continuous_usage_stats"))
        self._instead = _NONE if self._wants_last else b""
        self.is_complete = False
        self.problem: str | None = None
        self._usage_by_choice: dict[
            bytes, bytes
        ] = {}  # choice index -> its usage object, with its own completion tokens
        self._total = b""
        self._rest = b""

    @property
    def usage(self) -> Usage:
        """The usage in the events so far."""
        if self._total:
            return read_usage(orjson.loads(self._total))
        usages = [read_usage(orjson.loads(usage)) for usage in self._usage_by_choice.values()]
        if not usages:
            return Usage()
        return Usage(usages[0].prompt_tokens, usages[0].cached_tokens, sum(usage.completion_tokens for usage in usages))

    def feed(self, block: bytes) -> bytes:
        """The bytes to forward to the client: complete events, b"" while there are none."""
        block = self._rest + block
        cut = block.rfind(END) + len(END)
        if cut < len(END):
            self._rest = block
            return b""
        self._rest, events = block[cut:], block[:cut]
        return b"".join([self._of_event(event) for event in events.split(END) if event])

    def _of_event(self, event: bytes) -> bytes:
        if self.problem or event.startswith(b":"):  # a comment of the engine's, which keeps its connection alive
            return b""
        if event == _DONE:
            self.is_complete = True
            return event + END
        try:
            orjson.loads(event.removeprefix(DATA))
        except orjson.JSONDecodeError as problem:
            self.problem = f"an event is not valid JSON: {problem}"
            return b""
        match = _COUNTS.search(event)
        if match is None:
            return event + END
        if _LAST in event:
            self._total = match[1]
            return event + END if self._wants_last else b""
        choice = _CHOICE.search(event)
        self._usage_by_choice[choice[1] if choice else b"0"] = match[1]
        if self._wants_all:
            return event + END
        return b"".join((event[: match.start()], self._instead, event[match.end() :], END))
