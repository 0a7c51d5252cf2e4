"""A stored response: the bytes that the client got, and the model that generated them.

Only complete responses are stored: a stream must have its last event, and every choice a normal finish reason. This
module does not know where responses are stored.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Self

import orjson

from serving.protocol.sse import DONE

_FINISH = re.compile(rb'"finish_reason": ?"(\w+)"')  # within a string its quotes would be escaped
_WHOLE = {b"stop", b"length", b"tool_calls", b"function_call"}  # not: abort, error, content_filter
_SMALL_BYTES = 512  # compressing smaller bodies gains nothing
_FASTEST = 1  # zlib level; events are so repetitive that it saves 90 %
_WINDOW_BITS, _MEMORY_LEVEL = 13, 6  # to set up zlib's usual window of 32 KB takes longer than to compress an answer


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response with status 200.

    `body` is JSON, or with `streams` all events; `label` is the value of `x-bondhu-model`.
    """

    streams: bool
    body: bytes
    label: str

    @property
    def is_complete(self) -> bool:
        """Whether it is complete."""
        reasons = set(_FINISH.findall(self.body))
        return bool(reasons) and reasons <= _WHOLE and (not self.streams or self.body.endswith(DONE))

    def pack(self) -> bytes:
        """Encode it: a header line, and the body, compressed if that is smaller."""
        packed = _compressed(self.body) if len(self.body) >= _SMALL_BYTES else self.body
        is_smaller = len(packed) < len(self.body)
        head = orjson.dumps([self.streams, is_smaller, self.label])
        return head + b"\n" + (packed if is_smaller else self.body)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Decode the result of `pack`."""
        head, _, body = packed.partition(b"\n")
        streams, is_compressed, label = orjson.loads(head)
        return cls(streams, zlib.decompress(body) if is_compressed else body, label)


def _compressed(body: bytes) -> bytes:
    compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return compressor.compress(body) + compressor.flush()
