"""Server-sent events in OpenAI's format: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import Iterable
from typing import Any

import orjson

from serving.errors import ApiError

DATA, END = b"data: ", b"\n\n"
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error"'  # how an error begins; unambiguous, because quotes inside a string would be escaped
CONTENT_TYPE = b"text/event-stream"
HEADERS = (  # of every stream: neither caches nor proxies (nginx) keep its events back
    (b"content-type", CONTENT_TYPE + b"; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def event_of(document: Any) -> bytes:
    """A JSON document as an event."""
    return DATA + orjson.dumps(document) + END


def named_event(name: str, data: bytes) -> bytes:
    """Data as an event with a name, as other protocols than OpenAI's chat have it."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


def error_event(error: ApiError) -> bytes:
    """An error as an event, for a stream whose headers have been sent."""
    return DATA + error.body() + END


def events_of(blocks: Iterable[bytes]) -> list[dict[str, Any]]:
    """The JSON objects of complete events."""
    lines = [line for block in blocks for line in block.split(END)]
    return [orjson.loads(line[len(DATA) :]) for line in lines if line.startswith(DATA + b"{")]


def is_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a response with these headers is a stream of events."""
    return any(name == b"content-type" and value.startswith(CONTENT_TYPE) for name, value in headers)


def with_ids(events: bytes, recording_id: str, first: int) -> bytes:
    """Events with ids, numbered from `first`."""
    return b"".join(
        b"id: %s:%d\n%s\n\n" % (recording_id.encode(), number, event)
        for number, event in enumerate(events.split(END)[:-1], first)
    )
