"""An answer in the making, recorded, so that several clients can read it, each at its own pace and from where it is.

What the producer sends as ASGI messages is kept as blocks of whole events, counted from 0 (an answer that is no stream
has one block). The oldest block goes when more than `max_bytes` are kept and the fastest reader has it; so one reader
slows the producer down like a connection of its own, and among several the slow one is cut off, not the others. It
does not know who produces, who reads, or that other processes exist.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.types import Message

from serving import errors
from serving.protocol.request import GenerationRequest
from serving.protocol.usage import Usage

EVENT_END = b"\n\n"
NOBODY_S = float("-inf")
End = Literal["complete", "gone", "dropped"]  # gone: another may go on from here; dropped: nobody wants it any more
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status and headers."""

    status: int
    headers: Headers


class RecordingReader(Protocol):
    """Who reads. `next_event` is the first that it has not had."""

    next_event: int
    linger_s: float | None  # how long the answer is still wanted after it left; None: as the recording says


class Recording:
    """A recording.

    Args:
        id_: unlike any other's.
        call: what is answered; None until it is known.
        whose: the application and end user that may read it, as a digest.
        is_resumable: whether its events get ids, so that a client may come back.
        linger_s: how long it is wanted after a reader left that did not say.
        max_bytes: kept of it.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        id_: str,
        call: GenerationRequest | None,
        whose: str,
        *,
        is_resumable: bool,
        linger_s: float,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.id = id_
        self.call = call
        self.whose = whose
        self.is_resumable = is_resumable
        self.linger_s = linger_s
        self.head: Head | None = None
        self.end: End | None = None
        self.identity: str | None = None  # what requests that it answers have in common
        self.readers: list[RecordingReader] = []
        self.wanted_until = NOBODY_S  # by readers that left
        self.counted: Callable[[], Usage] = Usage  # tokens so far
        self.on_news: Callable[[], None] = lambda: None
        self.is_elsewhere = False  # other processes have been told of it
        self.is_forgotten = False  # only those who read it already get the rest
        self._max_bytes = max_bytes
        self._clock = clock
        self._blocks: list[bytes] = []
        self._starts: list[int] = []  # of each block: its first event
        self._total = 0  # events
        self._bytes = 0
        self._shown: int | None = None  # events that may be read; None: all
        self._changed = asyncio.Event()
        self._read = asyncio.Event()
        self._unread = asyncio.Event()
        self._unread.set()

    @property
    def total(self) -> int:
        """How many events there are."""
        return self._total

    @property
    def is_whole(self) -> bool:
        """Whether its beginning is still kept."""
        return not self._starts or self._starts[0] == 0

    def blocks(self) -> list[bytes]:
        """All that is kept."""
        return list(self._blocks)

    # For readers.

    def join(self, reader: RecordingReader) -> None:
        """`reader` is there."""
        self.readers.append(reader)
        self._unread.clear()

    def leave(self, reader: RecordingReader) -> None:
        """`reader` is not there any more."""
        self.readers.remove(reader)
        linger_s = self.linger_s if reader.linger_s is None else reader.linger_s
        self.wanted_until = max(self.wanted_until, self._clock() + linger_s)
        self._read.set()
        if not self.readers:
            self._unread.set()

    def take(self, reader: RecordingReader) -> bytes:
        """Return the events that `reader` has not had, b"" while there are none; raises ReaderTooSlow."""
        events, reader.next_event = self.since(reader.next_event, self._shown)
        if events:
            self._read.set()
        return events

    def is_over_for(self, reader: RecordingReader) -> bool:
        """Whether `reader` has had all that there will be."""
        return self.end is not None and (self._shown is None or reader.next_event >= self._total)

    async def news(self) -> None:
        """Wait until there may be more than at the time of the call."""
        await self._changed.wait()

    # For whoever produces, and whoever copies.

    async def send(self, message: Message) -> None:
        """Record an ASGI message of the answer; waits while the fastest reader is far behind."""
        if message["type"] == "http.response.start":
            self.head = Head(message["status"], list(message["headers"]))
        else:
            if body := message.get("body"):
                self.add(body)
            if not message.get("more_body"):
                self.end = "complete"
        self.tell()
        await self.make_room()

    async def make_room(self) -> None:
        """Return once no more is kept than may be."""
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
        self._total += max(1, block.count(EVENT_END))
        self._bytes += len(block)

    def fail(self, error: errors.ApiError) -> None:
        """Nobody answers: the recording ends with the error, as a response or as a stream's last event."""
        if self.head is None:
            body = error.body()
            headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
            self.head = Head(error.status, [(name.encode(), value.encode()) for name, value in headers.items()])
            self.add(body)
        else:
            self.add(errors.stream_event(error))
        self.finish("complete")

    def finish(self, end: End) -> None:
        """There will be no more."""
        self.end = end
        self.tell()

    def since(self, event: int, stop: int | None = None) -> tuple[bytes, int]:
        """Return the events from number `event` up to `stop` (None: all), and the next one's number.

        Raises ReaderTooSlow when they are no longer kept.
        """
        stop = self._total if stop is None else stop
        if event >= stop:
            return b"", event
        first = bisect_right(self._starts, event) - 1
        if first < 0:
            raise errors.ReaderTooSlow
        blocks = self._blocks[first : bisect_left(self._starts, stop)]
        if skipped := event - self._starts[first]:
            blocks[0] = blocks[0].split(EVENT_END, skipped)[skipped]
        return b"".join(blocks), stop

    def hold_back(self) -> None:
        """From now on, readers get only what `show` names."""
        self._shown = self._total

    def show(self, total: int | None) -> None:
        """Readers may have the first `total` events; None: all, for good."""
        if self._shown is not None:
            self._shown = total
            self._wake()

    def forget(self) -> None:
        """Whose it is has been forgotten: nobody comes back to it, and nothing of it is kept."""
        self.is_forgotten, self.is_resumable = True, False

    def tell(self) -> None:
        """Something is new."""
        self._wake()
        self.on_news()

    async def unread(self) -> None:
        """Wait until nobody reads."""
        await self._unread.wait()

    def is_wanted(self) -> bool:
        """Whether somebody reads here, or may come back."""
        return bool(self.readers) or self._clock() < self.wanted_until

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._blocks[0])
        del self._blocks[0], self._starts[0]
