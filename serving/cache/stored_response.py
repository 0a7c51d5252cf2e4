"""An answer as it is kept: what the client got, byte for byte, and who made it.

Only a complete one is worth keeping, which its bytes tell: it ends as it should, and every choice in it has come to an
end of its own. It does not know where it is kept.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Self

import orjson

from serving.protocol.sse import DONE

_FINISH = re.compile(rb'"finish_reason": ?"(\w+)"')  # within a string its quotes would be escaped
_WHOLE = {b"stop", b"length", b"tool_calls", b"function_call"}  # not: abort, error, content_filter
_SMALL_BYTES = 512  # below, compressing gains nothing
_FASTEST = 1  # zlib's level: events repeat themselves so much that it takes off nine tenths


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A complete answer with status 200.

    `body` is JSON, or with `streams` all of its events; `label` says who made it, as `x-bondhu-model` does.
    """

    streams: bool
    body: bytes
    label: str

    @property
    def is_complete(self) -> bool:
        """Whether nothing of it is missing."""
        reasons = set(_FINISH.findall(self.body))
        return bool(reasons) and reasons <= _WHOLE and (not self.streams or self.body.endswith(DONE))

    def pack(self) -> bytes:
        """As bytes, compressed where that is worth it: a line that describes it, and the body."""
        packed = zlib.compress(self.body, _FASTEST) if len(self.body) >= _SMALL_BYTES else self.body
        is_smaller = len(packed) < len(self.body)
        head = orjson.dumps([self.streams, is_smaller, self.label])
        return head + b"\n" + (packed if is_smaller else self.body)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` made bytes of."""
        head, _, body = packed.partition(b"\n")
        streams, is_compressed, label = orjson.loads(head)
        return cls(streams, zlib.decompress(body) if is_compressed else body, label)
