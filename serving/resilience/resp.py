"""Redis's wire format, RESP2: packs commands and parses replies (https://redis.io/docs/latest/develop/reference/).

It knows neither sockets nor commands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redis import exceptions

_ERRORS: Mapping[str, type[exceptions.RedisError]] = {  # by the first word; as in redis-py, some count as an outage
    "LOADING": exceptions.BusyLoadingError,
    "MASTERDOWN": exceptions.MasterDownError,
    "NOAUTH": exceptions.AuthenticationError,
    "NOSCRIPT": exceptions.NoScriptError,
    "OOM": exceptions.OutOfMemoryError,
    "READONLY": exceptions.ReadOnlyError,
    "WRONGPASS": exceptions.AuthenticationError,
}
_END = b"\r\n"
_STATUS, _ERROR, _INTEGER, _STRING, _ARRAY = b"+-:$*"


class _Incomplete(Exception):
    """The rest of a reply has not arrived."""


def packed(command: Sequence[bytes | str | float]) -> bytes:
    """A command as bytes."""
    pieces = [b"*%d\r\n" % len(command)]
    for part in command:
        data = part if isinstance(part, bytes) else (part if isinstance(part, str) else str(part)).encode()
        pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(pieces)


class Replies:
    """Parses the replies of one connection; strings are bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Any]:
        """The replies that are complete now; an error reply is an exception. Raises InvalidResponse, ValueError."""
        data = self._rest + data if self._rest else data
        replies, at = [], 0
        try:
            while at < len(data):
                reply, at = self._parse(data, at)
                replies.append(reply)
        except _Incomplete:
            pass
        self._rest = data[at:]
        return replies

    def _parse(self, data: bytes, at: int) -> tuple[Any, int]:
        """The reply that begins at `at`, and where the next one begins."""
        end = data.find(_END, at)
        if end < 0:
            raise _Incomplete
        kind, line, at = data[at], data[at + 1 : end], end + len(_END)
        if kind == _STRING:
            return self._string(data, at, int(line))
        if kind == _INTEGER:
            return int(line), at
        if kind == _ARRAY:
            return self._array(data, at, int(line))
        if kind == _STATUS:
            return line, at
        if kind == _ERROR:
            message = line.decode(errors="replace")
            return _ERRORS.get(message.partition(" ")[0], exceptions.ResponseError)(message), at
        raise exceptions.InvalidResponse(f"not a reply of Redis: {data[at : at + 20]!r}")

    def _string(self, data: bytes, at: int, size: int) -> tuple[Any, int]:
        if size < 0:
            return None, at
        end = at + size
        if len(data) < end + len(_END):
            raise _Incomplete
        return data[at:end], end + len(_END)

    def _array(self, data: bytes, at: int, size: int) -> tuple[Any, int]:
        if size < 0:
            return None, at
        items = []
        for _ in range(size):
            item, at = self._parse(data, at)
            items.append(item)
        return items, at
