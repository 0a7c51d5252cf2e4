"""Follows what other workers record: who answers a request, and a copy of its recording, read from Redis.

Every call is short, and none is made while Redis is unavailable. It does not know what is generated here.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from serving import errors
from serving.resilience.drain import Drain
from serving.resilience.redis import AWAY
from serving.streams.recording import Recording
from serving.streams.redis_store import HEAR_S, Fields, RecordingStore, apply

log = logging.getLogger(__name__)

READ_BLOCK_MS = 100
SILENT_S = 1.0  # without news for this long, check in Redis whether the writer is gone


class Follower:
    """The follower of one worker.

    Args:
        store: the recordings in Redis.
        drain: the worker's shutdown.
        clock: monotonic seconds.

    """

    def __init__(self, store: RecordingStore, drain: Drain, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._drain = drain
        self._clock = clock

    async def claim(self, identity: str, recording_id: str) -> tuple[bool, str | None]:
        """Claim a request for this worker: whether that worked, and the recording of a worker that was earlier."""
        try:
            elsewhere = await self._store.claim(identity, recording_id)
        except AWAY:
            return False, None
        return elsewhere is None, elsewhere

    async def is_resumable(self, recording_id: str, access_key: str) -> bool:
        """Whether a client can resume the recording; False if Redis is unavailable."""
        return await _unless_away(self._store.is_resumable(recording_id, access_key))

    async def is_heard(self, recording_id: str) -> bool:
        """Whether clients of other workers read the recording; False if Redis is unavailable."""
        return await _unless_away(self._store.is_heard(recording_id))

    async def ask_for(self, recording: Recording) -> bool:
        """Ask the worker that makes the recording to write it; False if it is gone."""
        return await _unless_away(self._store.ask_for(recording.id, recording.access_key))

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
                    await self._store.hear(recording.id)
                block_ms = READ_BLOCK_MS if is_written else None
                entries = await self._store.read(recording.id, recording.access_key, last, block_ms)
                is_written = True  # by another worker, if this one cannot seize it
                if entries:
                    last, news_at = entries[-1][0], self._clock()
                    if await _apply(recording, entries):
                        return "ended"
                is_over = bool(entries) and entries[-1][1].get(b"e") == b"gone"
                is_silent = self._clock() - news_at > SILENT_S
                if (is_over or is_silent) and recording.readers and await self._store.seize(recording.id):
                    # What was written since the last read:
                    rest = await self._store.read(recording.id, recording.access_key, last, None)
                    return "ended" if await _apply(recording, rest) else "seized"
        except AWAY as problem:
            log.info("recording %s cannot be copied: %r", recording.id, problem)
            return "alone" if recording.readers else "ended"
        if self._drain.is_over:
            recording.finish("gone")
        return "ended"


async def _unless_away(answer: Awaitable[bool]) -> bool:
    """The answer of Redis; False if it is unavailable."""
    try:
        return await answer
    except AWAY:
        return False


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
