"""Token counts as the engine states them, read off its answer while that passes by.

The engine is asked for its running counts on every event (vLLM's `continuous_usage_stats`), so that they are known when
a stream is broken off as well; the client sees of them what it asked for: all, the last, or none. The bytes of an event
are vLLM's compact JSON, in which a `"usage"` key cannot be mistaken: within a string its quotes would be escaped.
It does not know what becomes of the counts.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from serving.protocol.usage import Usage, read_usage

_COUNTS = re.compile(rb',"usage":(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_CHOICE = re.compile(rb'"choices":\[\{"index":(\d+)')
_LAST = b'"choices":[],'  # the event that only tells the counts
_END = b"\n\n"
_DATA, _DONE = b"data: ", b"data: [DONE]"


def usage_of_body(body: bytes) -> Usage:
    """The counts of a complete answer."""
    found = None
    for found in _COUNTS.finditer(body):  # noqa: B007  # the last one is wanted
        pass
    return Usage() if found is None else read_usage(orjson.loads(found[1]))


def with_running_counts(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The request for a stream, asking for the counts on every event."""
    options = {**(parsed.get("stream_options") or {}), "include_usage": True, "continuous_usage_stats": True}
    return {**parsed, "stream_options": options}


class StreamMeter:
    """Takes the counts out of a stream's bytes.

    Args:
        stream_options: the request's own, by which the counts stay in the stream or not.

    Attributes:
        is_complete: the stream's last event has come.
        problem: what is wrong with an event that cannot be read; it and all that follow are kept from the client.

    """

    def __init__(self, stream_options: Mapping[str, Any] | None) -> None:
        options = stream_options or {}
        self._wants_last = bool(options.get("include_usage"))
        self._wants_all = self._wants_last and bool(options.get("continuous_usage_stats"))
        self.is_complete = False
        self.problem: str | None = None
        self._told: dict[bytes, bytes] = {}  # by choice: each tells its own completion tokens
        self._total = b""
        self._rest = b""

    @property
    def usage(self) -> Usage:
        """What the events that came told."""
        if self._total:
            return read_usage(orjson.loads(self._total))
        told = [read_usage(orjson.loads(each)) for each in self._told.values()]
        if not told:
            return Usage()
        return Usage(told[0].prompt_tokens, told[0].cached_tokens, sum(each.completion_tokens for each in told))

    def feed(self, block: bytes) -> bytes:
        """What goes on to the client of what came in: whole events, b"" while there is none."""
        block = self._rest + block
        cut = block.rfind(_END) + len(_END)
        if cut < len(_END):
            self._rest = block
            return b""
        self._rest, events = block[cut:], block[:cut]
        return b"".join([self._of_event(event) for event in events.split(_END) if event])

    def _of_event(self, event: bytes) -> bytes:
        if self.problem:
            return b""
        if event == _DONE:
            self.is_complete = True
            return event + _END
        try:
            orjson.loads(event.removeprefix(_DATA))
        except orjson.JSONDecodeError as problem:
            self.problem = f"an event that cannot be read: {problem}"
            return b""
        found = _COUNTS.search(event)
        if found is None:
            return event + _END
        if _LAST in event:
            self._total = found[1]
            return event + _END if self._wants_last else b""
        choice = _CHOICE.search(event)
        self._told[choice[1] if choice else b"0"] = found[1]
        return event + _END if self._wants_all else event[: found.start()] + event[found.end() :] + _END
