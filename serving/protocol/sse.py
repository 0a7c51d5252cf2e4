"""Server-sent events in OpenAI's format."""

from collections.abc import Iterable
from typing import Any

import orjson

_PREFIX = b"data: "


def events_of(blocks: Iterable[bytes]) -> list[dict[str, Any]]:
    """The JSON objects of complete server-sent events."""
    lines = [line for block in blocks for line in block.split(b"\n\n")]
    return [orjson.loads(line[len(_PREFIX) :]) for line in lines if line.startswith(_PREFIX + b"{")]


DONE = b"data: [DONE]\n\n"
HEADERS = (  # of every stream: neither caches nor proxies (nginx) keep its events back
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
