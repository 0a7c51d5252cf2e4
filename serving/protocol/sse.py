"""Server-sent events in OpenAI's format: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import Iterable
from typing import Any, Self

import orjson

from serving.errors import ApiError

Json = dict[str, Any]
DATA, END = b"data: ", b"\n\n"
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error"'  # how an error begins; unambiguous, because quotes inside a string would be escaped
CONTENT_TYPE = b"text/event-stream"
HEADERS = (  # of every stream: neither caches nor proxies (nginx) keep its events back
    (b"content-type", CONTENT_TYPE + b"; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_OBJECT = DATA + b"{"


class Event:
    """One event of a stream on its way to a client, parsed at most once.

    Args:
        data: its bytes, with their end.
        chunk: its JSON object, if it is known.

    """

    __slots__ = ("_chunk", "data")

    def __init__(self, data: bytes, chunk: Json | None = None) -> None:
        self.data = data
        self._chunk = chunk

    @classmethod
    def of(cls, chunk: Json) -> Self:
        """Return the event of a JSON object."""
        return cls(event_of(chunk), chunk)

    @property
    def chunk(self) -> Json | None:
        """Its JSON object; None: a comment, or the end of the stream."""
        if self._chunk is None and self.data.startswith(_OBJECT):
            self._chunk = orjson.loads(self.data[len(DATA) :])
        return self._chunk

    def rewrite(self) -> None:
        """Write `data` anew, after a change of `chunk`."""
        self.data = event_of(self._chunk)


def split(block: bytes) -> list[Event]:
    """Whole events, one by one."""
    return [Event(event + END) for event in block.split(END) if event]


def joined(events: Iterable[Event]) -> bytes:
    """The bytes of events."""
    return b"".join([event.data for event in events])


def event_of(document: Any) -> bytes:
    """A JSON document as an event."""
    return DATA + orjson.dumps(document) + END


def named_event(name: str, data: bytes) -> bytes:
    """Data as an event with a name, as other protocols than OpenAI's chat have it."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


def error_event(error: ApiError) -> bytes:
    """An error as an event, for a stream whose headers have been sent."""
    return DATA + error.body() + END


def events_of(blocks: Iterable[bytes]) -> list[Json]:
    """The JSON objects of complete events."""
    lines = [line for block in blocks for line in block.split(END)]
    return [orjson.loads(line[len(DATA) :]) for line in lines if line.startswith(_OBJECT)]


def is_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a response with these headers is a stream of events."""
    return any(name == b"content-type" and value.startswith(CONTENT_TYPE) for name, value in headers)


def with_ids(events: bytes, recording_id: str, first: int) -> bytes:
    """Events with ids, numbered from `first`."""
    return b"".join(
        b"id: %s:%d\n%s\n\n" % (recording_id.encode(), number, event)
        for number, event in enumerate(events.split(END)[:-1], first)
    )
