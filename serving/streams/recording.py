"""A recording of a response in progress, which several clients can read at their own pace and position.

The response is stored as blocks of whole events, counted from 0 (a response without a stream has one
block). The oldest block is dropped when more than `max_bytes` are stored and the fastest reader has read it. So one
reader alone slows the producer down like a direct connection, and of several readers only the slow one is disconnected.
A recording is a `serving.protocol.response.Sink`. This module does not know who produces or reads, or that other
processes exist.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from serving import errors
from serving.generation.planner import Terms
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.response import Headers
from serving.protocol.sse import END, error_event
from serving.protocol.usage import Usage

NOBODY_S = float("-inf")
End = Literal["complete", "gone", "dropped"]  # gone: another worker may continue; dropped: nobody needs it


@dataclass(frozen=True, slots=True)
class Head:
    """A response's status and headers."""

    status: int
    headers: Headers


class Reader(Protocol):
    """A reader of a recording; `next_event` is the first that it has not received."""

    next_event: int
    linger_s: float | None  # seconds of generation after it left; None: as the recording says
    terms: Terms  # if its request generates

    def give_record(self) -> RequestRecord | None:
        """Give its record in the ledger to the generation; None if it was given before."""


class Producer(Protocol):
    """What produces a recording."""

    @property
    def counted(self) -> Usage:
        """The tokens so far."""


class Listener(Protocol):
    """Who wants to know of news in a recording."""

    def on_news(self, recording_id: str) -> None:
        """There are new events, or it has ended."""


class Recording:
    """A recording.

    Args:
        id_: unique id.
        request: the request; None until it is known.
        access_key: digest of the application and end user that may read it, and of its path.
        is_resumable: whether its events have ids, so that a client can resume.
        linger_s: seconds of generation after a reader without its own value left.
        max_bytes: maximum buffer.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        id_: str,
        request: GenerationRequest | None,
        access_key: str,
        *,
        is_resumable: bool,
        linger_s: float,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.id = id_
        self.request = request
        self.access_key = access_key
        self.is_resumable = is_resumable
        self.linger_s = linger_s
        self.head: Head | None = None
        self.ended: End | None = None
        self.identity: str | None = None  # digest of the identical requests that it answers
        self.has_begun = False  # it is generated or copied, or was
        self.readers: list[Reader] = []
        self.linger_until = NOBODY_S  # for readers that left
        self.producer: Producer | None = None
        self.copied = Usage()  # tokens, while nothing produces it here
        self.listener: Listener | None = None
        self.is_elsewhere = False  # it is published to other processes
        self.is_forgotten = False  # only current readers get the rest
        self._max_bytes = max_bytes
        self._clock = clock
        self._blocks: list[bytes] = []
        self._starts: list[int] = []  # number of the first event of each block
        self._total = 0  # events
        self._bytes = 0
        self._shown: int | None = None  # events that may be read; None: all
        self._changed = asyncio.Event()
        self._read = asyncio.Event()
        self._unread = asyncio.Event()
        self._unread.set()

    @property
    def total(self) -> int:
        """The number of events."""
        return self._total

    @property
    def is_whole(self) -> bool:
        """Whether its beginning is still stored."""
        return not self._starts or self._starts[0] == 0

    def counted(self) -> Usage:
        """The tokens so far."""
        return self.copied if self.producer is None else self.producer.counted

    def blocks(self) -> list[bytes]:
        """All stored blocks."""
        return list(self._blocks)

    # For readers.

    def join(self, reader: Reader) -> None:
        """Add a reader."""
        self.readers.append(reader)
        self._unread.clear()

    def leave(self, reader: Reader) -> None:
        """Remove a reader."""
        self.readers.remove(reader)
        linger_s = self.linger_s if reader.linger_s is None else reader.linger_s
        self.linger_until = max(self.linger_until, self._clock() + linger_s)
        self._read.set()
        if not self.readers:
            self._unread.set()

    def take(self, reader: Reader) -> bytes:
        """Return the new events for a reader, b"" while there are none; raises ReaderTooSlow."""
        events, reader.next_event = self.since(reader.next_event, self._shown)
        if events:
            self._read.set()
        return events

    def is_over_for(self, reader: Reader) -> bool:
        """Whether a reader has received everything."""
        return self.ended is not None and (self._shown is None or reader.next_event >= self._total)

    async def news(self) -> None:
        """Wait until there may be new events."""
        await self._changed.wait()

    # For the producer.

    async def start(self, status: int, headers: Headers) -> None:
        """Record the status and the headers."""
        self.head = Head(status, headers)
        self.notify()

    async def write(self, events: bytes) -> None:
        """Record events; waits while the fastest reader is far behind."""
        self.add(events)
        self.notify()
        await self.make_room()

    async def end(self, rest: bytes = b"") -> None:
        """Record the last events, or the body; waits like `write`."""
        if rest:
            self.add(rest)
        self.finish("complete")
        await self.make_room()

    async def make_room(self) -> None:
        """Wait until no more than `max_bytes` are stored."""
        while self._bytes > self._max_bytes and len(self._blocks) > 1:
            if self.readers and max(reader.next_event for reader in self.readers) < self._starts[1]:
                self._read.clear()
                await self._read.wait()
            else:
                self._drop_oldest()

    def add(self, block: bytes) -> None:
        """Record whole events."""
        self._starts.append(self._total)
        self._blocks.append(block)
        self._total += max(1, block.count(END))
        self._bytes += len(block)

    def fail(self, error: errors.ApiError) -> None:
        """End with an error, as the response or as a stream's last event."""
        if self.head is None:
            body = error.body()
            headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
            self.head = Head(error.status, [(name.encode(), value.encode()) for name, value in headers.items()])
            self.add(body)
        else:
            self.add(error_event(error))
        self.finish("complete")

    def finish(self, end: End) -> None:
        """End the recording."""
        self.ended = end
        self.notify()

    def since(self, event: int, stop: int | None = None) -> tuple[bytes, int]:
        """Return the events from number `event` up to `stop` (None: all), and the number of the next one.

        Raises ReaderTooSlow if they are no longer stored.
        """
        stop = self._total if stop is None else stop
        if event >= stop:
            return b"", event
        first = bisect_right(self._starts, event) - 1
        if first < 0:
            raise errors.ReaderTooSlow
        blocks = self._blocks[first : bisect_left(self._starts, stop)]
        if skipped := event - self._starts[first]:
            blocks[0] = blocks[0].split(END, skipped)[skipped]
        return b"".join(blocks), stop

    def hold_back(self) -> None:
        """From now on, readers only get events released by `show`."""
        self._shown = self._total

    def show(self, total: int | None) -> None:
        """Release the first `total` events to readers; None: all, from now on."""
        if self._shown is not None:
            self._shown = total
            self._wake()

    def forget(self) -> None:
        """Note that its owner was erased: it can no longer be resumed or stored."""
        self.is_forgotten, self.is_resumable = True, False

    def notify(self) -> None:
        """Wake readers and the replicator."""
        self._wake()
        if self.listener is not None:
            self.listener.on_news(self.id)

    async def unread(self) -> None:
        """Wait until there are no readers."""
        await self._unread.wait()

    def is_wanted(self) -> bool:
        """Whether there are local readers, or one may come back."""
        return bool(self.readers) or self._clock() < self.linger_until

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._blocks[0])
        del self._blocks[0], self._starts[0]
