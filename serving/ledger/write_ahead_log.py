"""A write-ahead log: records are written to a file before the work continues and are replayed into SQL later.

A line is the CRC-32 of a JSON object in eight hex digits, a space, the object, a newline. The first line has a fixed
length, is rewritten in place, and says how many bytes of the file are settled (stored elsewhere). Each line is one
pwrite(2): a killed process loses nothing that it wrote; a crash of the machine loses what came after the last `sync`.
The writer holds an flock(2) on the file while it lives, so a file with a free lock belongs to a dead process.

It does not know what the objects mean.
"""

import asyncio
import errno
import fcntl
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

Record = dict[str, Any]
MAX_LINE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """A complete line: `record` is None if it is damaged, `end` is the offset after it in bytes."""

    record: Record | None
    raw: bytes
    end: int


class WriteAheadLog:
    """An open, locked journal: `create` makes a new one, `claim` takes over that of a dead process."""

    def __init__(self, path: Path, fd: int) -> None:
        self._fd = fd
        self._is_synced = True
        self.path = path
        self.size_bytes = os.fstat(fd).st_size
        self.settled = min(_settled_at(fd), self.size_bytes)  # offset in bytes; lines before it need no replay

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create a journal at `path`, readable by its owner only; raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(path, _start_file(path, b""))

    @classmethod
    def claim(cls, path: Path) -> Self | None:
        """Return the journal at `path` if its owner is dead and no other process has claimed it."""
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_current = os.path.samestat(os.fstat(fd), os.stat(path))  # otherwise replaced or removed meanwhile
        except (BlockingIOError, FileNotFoundError):
            is_current = False
        if is_current:
            return cls(path, fd)
        os.close(fd)
        return None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to replay."""
        return self.settled >= self.size_bytes

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a line; raises OSError, and writes no line, if the disk does not take all of it."""
        line = _encode(record)
        written = os.pwrite(self._fd, line, self.size_bytes)
        if written < len(line):  # the next line overwrites this piece, which has no newline, so readers ignore it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.size_bytes += written
        self._is_synced = False

    def lines(self, start: int = 0) -> Iterator[Line]:
        """Read the complete lines from offset `start`, without a torn line at the end.

        Data without a newline for MAX_LINE_BYTES is returned as damaged lines of that length.
        """
        with self.path.open("rb") as file:
            file.seek(max(start, HEADER_BYTES))
            end = file.tell()
            while raw := file.readline(MAX_LINE_BYTES):
                is_line = raw.endswith(b"\n")
                if not is_line and len(raw) < MAX_LINE_BYTES:
                    return
                end += len(raw)
                yield Line(_decode(raw) if is_line else None, raw, end)

    def settle(self, offset: int) -> None:
        """Record that everything before `offset` is stored elsewhere."""
        os.pwrite(self._fd, _header(offset), 0)
        self.settled = offset

    def shrink(self, keep: Iterable[Mapping[str, Any]]) -> None:
        """Drop the settled part, except the records to `keep`.

        If there is something to keep, the file is replaced after an fsync, so this should be rare.
        """
        if self.size_bytes == HEADER_BYTES:
            return
        kept = b"".join(map(_encode, keep))
        if not kept and self.is_settled:
            self.settle(HEADER_BYTES)  # first, because a header that points past the end hides later lines
            os.ftruncate(self._fd, HEADER_BYTES)
        else:
            unsettled = os.pread(self._fd, self.size_bytes - self.settled, self.settled)
            old, self._fd = self._fd, _start_file(self.path, kept + unsettled)
            os.close(old)
            self.settled = HEADER_BYTES
        self.size_bytes = os.fstat(self._fd).st_size

    async def sync(self) -> None:
        """Flush the file to the disk, in a thread.

        With fdatasync(2), because fsync(2) makes appends, and with them the event loop, wait for its metadata.
        """
        if self._is_synced:
            return
        self._is_synced = True  # set first: what is written meanwhile is for the next sync
        fd = os.dup(self._fd)  # `shrink` may close the original meanwhile
        try:
            await asyncio.to_thread(os.fdatasync, fd)
        except OSError:
            self._is_synced = False
            raise
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Delete the file and its unfinished replacement, if any."""
        self.path.unlink(missing_ok=True)
        _unfinished(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; from now on any process may claim it."""
        os.close(self._fd)
        self._fd = -1  # a late write must fail instead of reaching another file with this number


def _start_file(path: Path, content: bytes) -> int:
    """Create a locked file with a header and `content` at `path` atomically; returns its descriptor.

    It gets its name once it is locked, so that no process takes it for a dead process's file.
    """
    unfinished = _unfinished(path)
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        _write_all(fd, _header(HEADER_BYTES) + content)
        os.fsync(fd)
        unfinished.replace(path)
    except OSError:
        os.close(fd)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return fd


def _write_all(fd: int, content: bytes) -> None:
    with open(fd, "wb", closefd=False) as file:
        file.write(content)


def _unfinished(path: Path) -> Path:
    return path.with_suffix(".unfinished")


def _encode(record: Mapping[str, Any]) -> bytes:
    json = orjson.dumps(record)
    return b"%08x %b\n" % (zlib.crc32(json), json)


def _decode(raw: bytes) -> Record | None:
    checksum, _, json = raw.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(json):
        return None
    try:
        record = orjson.loads(json)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _header(settled: int) -> bytes:
    return _encode({"settled": f"{settled:016d}"})


def _settled_at(fd: int) -> int:
    """The header's offset; an unreadable header counts as nothing settled, since replaying again is harmless."""
    header = _decode(os.pread(fd, HEADER_BYTES, 0)) or {}
    settled = header.get("settled")
    return int(settled) if isinstance(settled, str) and re.fullmatch(r"[0-9]{16}", settled) else HEADER_BYTES


HEADER_BYTES = len(_header(0))
