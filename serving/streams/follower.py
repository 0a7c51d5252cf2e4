"""Follows what other workers record: who answers a request, and a copy of its recording, read from Redis.

Every call is short, and none is made while Redis is unavailable. It does not know what is generated here.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from serving import errors
from serving.resilience.breaker import Breaker
from serving.resilience.deadline import answer_within
from serving.resilience.drain import Drain
from serving.resilience.redis import AWAY
from serving.streams.recording import Recording
from serving.streams.redis_store import HEAR_S, Fields, RecordingStore, apply

log = logging.getLogger(__name__)

ASK_WITHIN_S = 0.05
READ_BLOCK_MS = 100
READ_WITHIN_S = 0.35  # maximum delay of a reader when Redis hangs
SILENT_S = 1.0  # without news for this long, check in Redis whether the writer is gone
Result = TypeVar("Result")


class Follower:
    """The follower of one worker.

    Args:
        store: the recordings in Redis.
        breaker: open while Redis is unavailable.
        drain: the worker's shutdown.
        clock: monotonic seconds.

    """

    def __init__(
        self, store: RecordingStore, breaker: Breaker, drain: Drain, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._drain = drain
        self._clock = clock

    async def claim(self, identity: str, recording_id: str) -> tuple[bool, str | None]:
        """Claim a request for this worker: whether that worked, and the recording of a worker that was earlier."""
        return await self._ask(self._claimed(identity, recording_id), (False, None))

    async def is_resumable(self, recording_id: str, access_key: str) -> bool:
        """Whether a client can resume the recording; False if Redis is unavailable."""
        return await self._ask(self._store.is_resumable(recording_id, access_key), False)

    async def is_heard(self, recording_id: str) -> bool:
        """Whether clients of other workers read the recording; False if Redis is unavailable."""
        return await self._ask(self._store.is_heard(recording_id), False)

    async def ask_for(self, recording: Recording) -> bool:
        """Ask the worker that makes the recording to write it; False if it is gone."""
        return await self._ask(self._store.ask_for(recording.id, recording.access_key), False)

    async def copy(self, recording: Recording, *, is_written: bool) -> Literal["ended", "seized", "alone"]:
        """Copy a recording until it ends.

        Args:
            recording: the recording, with the other worker's id.
            is_written: whether the other worker writes it already.

        Returns:
            `ended`; `seized`: its writer is gone, this worker must generate the rest and write it; `alone`: Redis is
            unavailable, this worker must generate the rest for its own readers.

        """
        last, sent_at = b"0", float("-inf")
        news_at = self._clock() if is_written else float("-inf")
        try:
            while recording.is_wanted() and not self._drain.is_over:
                if self._clock() - sent_at >= HEAR_S:
                    sent_at = self._clock()
                    await self._within(self._store.hear(recording.id))
                entries = await self._entries(recording, last, READ_BLOCK_MS if is_written else None)
                is_written = True  # by another worker, if this one cannot seize it
                if entries:
                    last, news_at = entries[-1][0], self._clock()
                    if await _apply(recording, entries):
                        return "ended"
                is_over = bool(entries) and entries[-1][1].get(b"e") == b"gone"
                is_silent = self._clock() - news_at > SILENT_S
                if (is_over or is_silent) and recording.readers and await self._within(self._store.seize(recording.id)):
                    rest = await self._entries(recording, last, None)  # written since the last read
                    return "ended" if await _apply(recording, rest) else "seized"
        except AWAY as problem:
            log.info("recording %s cannot be copied: %r", recording.id, problem)
            return "alone" if recording.readers else "ended"
        if self._drain.is_over:
            recording.finish("gone")
        return "ended"

    async def _claimed(self, identity: str, recording_id: str) -> tuple[bool, str | None]:
        elsewhere = await self._store.claim(identity, recording_id)
        return elsewhere is None, elsewhere

    async def _entries(self, recording: Recording, last: bytes, block_ms: int | None) -> list[tuple[bytes, Fields]]:
        async with answer_within(READ_WITHIN_S):
            return await self._store.read(recording.id, recording.access_key, last, block_ms)

    async def _ask(self, operation: Awaitable[Result], otherwise: Result) -> Result:
        """The result of a call to Redis; `otherwise` if it fails."""
        began = self._clock()
        try:
            result = await self._within(operation)
        except AWAY as problem:
            self._breaker.failed(problem, began)
            return otherwise
        self._breaker.succeeded()
        return result

    async def _within(self, operation: Awaitable[Result]) -> Result:
        if self._breaker.is_open:
            if asyncio.iscoroutine(operation):
                operation.close()
            raise ConnectionError("Redis is unavailable")
        async with answer_within(ASK_WITHIN_S):
            return await operation


async def _apply(recording: Recording, entries: list[tuple[bytes, Fields]]) -> bool:
    """Add entries to the recording; returns whether it has ended."""
    request_id = recording.id if recording.request is None else recording.request.request_id
    for _, fields in entries:
        if not apply(recording, fields, request_id):
            recording.fail(errors.UnknownStream() if recording.head is None else errors.ReaderTooSlow())
            return True
    recording.notify()
    await recording.make_room()
    if not entries or entries[-1][1].get(b"e") != b"complete":
        return False
    recording.finish("complete")
    return True
