"""The recordings of one gateway worker: each is fed by a local generation, or copied from another worker.

A request is claimed in Redis, so that only one of all workers computes it; the others copy its recording. A worker that
copies takes the recording over if its writer is gone, and continues its text. A generation runs while somebody reads
it, here or elsewhere, or may come back. Without Redis, all this works within the worker.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from starlette.types import Message

from serving import errors
from serving.generation.continuation import can_be_continued
from serving.generation.pipeline import SentEvents
from serving.protocol.request import GenerationRequest
from serving.resilience.deadline import answer_within
from serving.resilience.drain import Drain
from serving.resilience.redis import AWAY
from serving.streams.policy import access_key
from serving.streams.reader import RecordingResponse
from serving.streams.recording import Recording
from serving.streams.redis_store import HEAR_S, Fields, RecordingStore, apply
from serving.streams.replicator import SHARED_S, Replicator

log = logging.getLogger(__name__)

ASK_WITHIN_S = 0.05
READ_BLOCK_MS = 100
FORGET_WITHIN_S = 5.0
READ_WITHIN_S = 0.35  # maximum delay of a reader when Redis hangs
SILENT_S = 1.0  # without news for this long, check in Redis whether the writer is gone
POLL_S = 0.1
MAX_KEPT = 256  # ended recordings in memory; older ones are in Redis
Result = TypeVar("Result")


class Recorder:
    """The recordings of one worker.

    Args:
        store: the recordings in Redis.
        replicator: copies this worker's recordings to Redis.
        shares: whether identical requests are shared with other workers.
        drain: the worker's shutdown.
        max_bytes: maximum buffer of a recording.
        keep_s: how long an ended recording can be resumed.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        *,
        store: RecordingStore,
        replicator: Replicator,
        shares: bool,
        drain: Drain,
        max_bytes: int,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._replicator = replicator
        self._shares = shares
        self._drain = drain
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._clock = clock
        self._in_flight: dict[str, Recording] = {}  # by identity
        self._known: dict[str, Recording] = {}  # by id
        self._ended: dict[str, Recording] = {}  # resumable ones, oldest first
        self._tasks: set[asyncio.Task[None]] = set()
        replicator.find = self._known.get
        replicator.drop = self._drop

    def of(
        self, request: GenerationRequest, identity: str | None, record_id: str, linger_s: float
    ) -> tuple[Recording, bool]:
        """The recording of a request, and whether it is a new one.

        Args:
            request: the request.
            identity: digest of identical requests; None: not shared.
            record_id: id of the request's record in the ledger.
            linger_s: seconds of generation after its client left.

        """
        found = self._in_flight.get(identity) if identity else None
        if found is not None and found.is_whole:
            return found, False
        recording = self._new(
            record_id,
            request,
            access_key(request.app, request.user, request.path),
            is_resumable=request.streams and linger_s > 0,
            linger_s=linger_s,
        )
        if identity:
            recording.identity = identity
            self._in_flight[identity] = recording
        self._start(self._answer(recording))
        return recording, True

    async def find(self, recording_id: str, key: str) -> Recording:
        """The recording that a client resumes; raises UnknownStream."""
        if recording_id not in self._known and not await self._ask(self._store.is_resumable(recording_id, key), False):
            raise errors.UnknownStream
        recording = self._known.get(recording_id)
        if recording is None:
            recording = self._new(recording_id, None, key, is_resumable=True, linger_s=0.0)
            self._start(self._follow_on(recording))
        if recording.access_key != key or not recording.is_resumable:
            raise errors.UnknownStream
        return recording

    async def forget(self, owner: str) -> None:
        """Delete the recordings of a person (`owner_of`) or an application (`owners_of`) at all workers.

        Current readers get the rest, but cannot resume. Raises the exceptions in AWAY.
        """
        async with answer_within(FORGET_WITHIN_S):
            await self._drop(owner)
            await self._store.forget(owner)

    async def count(self, owner: str) -> int:
        """The number of an owner's recordings, in Redis and at this worker; raises the exceptions in AWAY."""
        async with answer_within(FORGET_WITHIN_S):
            in_redis = await self._store.count(owner)
        return in_redis + sum(recording.access_key.startswith(owner) for recording in self._known.values())

    def numbers(self) -> dict[str, float]:
        """The number of recordings in progress, and of their readers."""
        readers = sum(len(recording.readers) for recording in self._known.values())
        return {"recordings": len(self._tasks), "readers": readers}

    async def close(self) -> None:
        """Wait until all recordings have ended (the drain ends them) and are in Redis."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._replicator.flush()

    def _new(
        self, id_: str, request: GenerationRequest | None, key: str, *, is_resumable: bool, linger_s: float
    ) -> Recording:
        recording = self._known[id_] = Recording(
            id_,
            request,
            key,
            is_resumable=is_resumable,
            linger_s=linger_s,
            max_bytes=self._max_bytes,
            clock=self._clock,
        )
        return recording

    def _start(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, recording: Recording) -> None:
        try:
            elsewhere = (
                await self._claim(recording, recording.identity) if recording.identity and self._shares else None
            )
            if elsewhere is None:
                await self._produce(recording, since=None, publishes=recording.is_resumable)
                return
            self._known.pop(recording.id, None)
            recording.id = elsewhere
            if not recording.is_forgotten:
                self._known[recording.id] = recording
            there = await self._ask(self._store.ask_for(recording.id, recording.access_key), False)
            await self._follow(recording, is_written=there)
        finally:
            self._settle(recording)

    async def _follow_on(self, recording: Recording) -> None:
        try:
            await self._follow(recording, is_written=True)
        finally:
            self._settle(recording)

    async def _claim(self, recording: Recording, identity: str) -> str | None:
        """The id of the recording that another worker is making; None if this worker must make it."""
        unknown = object()
        elsewhere = await self._ask(self._store.claim(identity, recording.id), unknown)
        if elsewhere is unknown:
            return None
        if elsewhere is None:
            self._replicator.started(identity)
        return elsewhere  # type: ignore[return-value]  # not `unknown`, so it is the claim's result

    async def _follow(self, recording: Recording, *, is_written: bool) -> None:
        """Copy another worker's recording to its end; generate the rest if its writer is gone."""
        how = await self._copy(recording, is_written=is_written)
        if how in ("seized", "alone"):
            since = recording.total if recording.head else None
            await self._produce(recording, since=since, publishes=how == "seized")

    async def _copy(self, recording: Recording, *, is_written: bool) -> Literal["ended", "seized", "alone"]:
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
                    if await self._apply(recording, entries):
                        return "ended"
                is_over = bool(entries) and entries[-1][1].get(b"e") == b"gone"
                is_silent = self._clock() - news_at > SILENT_S
                if (is_over or is_silent) and recording.readers and await self._within(self._store.seize(recording.id)):
                    rest = await self._entries(recording, last, None)  # written since the last read
                    return "ended" if await self._apply(recording, rest) else "seized"
        except AWAY as problem:
            log.info("recording %s cannot be copied: %r", recording.id, problem)
            return "alone" if recording.readers else "ended"
        if self._drain.is_over:
            recording.finish("gone")
        return "ended"

    async def _apply(self, recording: Recording, entries: list[tuple[bytes, Fields]]) -> bool:
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

    async def _entries(self, recording: Recording, last: bytes, block_ms: int | None) -> list[tuple[bytes, Fields]]:
        async with answer_within(READ_WITHIN_S):
            return await self._store.read(recording.id, recording.access_key, last, block_ms)

    async def _produce(self, recording: Recording, *, since: int | None, publishes: bool) -> None:
        """Generate what is missing, with the record of one of the readers."""
        request = recording.request
        sent = SentEvents(recording.blocks(), recording.counted()) if since is not None else None
        if request is None or (sent and not (recording.is_whole and can_be_continued(request))):
            recording.fail(errors.EngineFailed("The gateway worker stopped in the middle of this response."))
            return
        readers = [reader for reader in recording.readers if isinstance(reader, RecordingResponse)]
        generation = next((made for reader in readers if (made := reader.make_generation(request, sent))), None)
        if generation is None:
            return
        recording.counted = lambda: generation.counted
        if publishes:
            self._replicator.publish(recording, ttl_s=self._keep_s if recording.is_resumable else SHARED_S, since=since)

        async def left() -> Message:
            await self._until_abandoned(recording)
            return {"type": "http.disconnect"}

        try:
            await generation({}, left, recording.send)
        except errors.ApiError as problem:
            recording.fail(problem)
        except Exception:
            log.exception("a shared generation failed")
            recording.fail(errors.ApiError("Internal error of the gateway; see its log.", code="internal_error"))

    async def _until_abandoned(self, recording: Recording) -> None:
        """Wait until nobody needs the response any more; from then on nobody can join."""
        checked_at = float("-inf")
        while True:
            await recording.unread()
            if recording.is_wanted():
                await asyncio.sleep(POLL_S)
                continue
            if recording.is_elsewhere:
                await asyncio.sleep(checked_at + 2 * HEAR_S - self._clock())
                checked_at = self._clock()
                if await self._ask(self._store.is_heard(recording.id), False) or recording.is_wanted():
                    continue
            self._remove(recording)
            return

    def _settle(self, recording: Recording) -> None:
        """Clean up after the recording's task."""
        self._remove(recording)
        if recording.identity and recording.identity not in self._in_flight:  # otherwise it was started again
            self._replicator.finished(recording.identity)
        if recording.end is None:
            recording.finish("gone" if self._drain.is_over and recording.is_resumable else "dropped")
        if recording.end == "complete" and recording.is_resumable:
            self._keep(recording)

    async def _drop(self, owner: str) -> None:
        """Drop this worker's recordings of an owner."""
        recordings = [recording for recording in self._known.values() if recording.access_key.startswith(owner)]
        for recording in recordings:
            recording.forget()
            self._remove(recording)
            self._ended.pop(recording.id, None)
        await self._replicator.forget(recordings)

    def _remove(self, recording: Recording) -> None:
        """Remove a recording, so that no request finds it."""
        if self._known.get(recording.id) is recording:
            del self._known[recording.id]
        if recording.identity and self._in_flight.get(recording.identity) is recording:
            del self._in_flight[recording.identity]

    def _keep(self, recording: Recording) -> None:
        self._known[recording.id] = self._ended[recording.id] = recording
        asyncio.get_running_loop().call_later(self._keep_s, self._let_go, recording.id)
        if len(self._ended) > MAX_KEPT:
            self._let_go(next(iter(self._ended)))

    def _let_go(self, recording_id: str) -> None:
        self._known.pop(recording_id, None)
        self._ended.pop(recording_id, None)

    async def _ask(self, operation: "Awaitable[Result]", otherwise: "Result") -> "Result":
        """The result of a call to Redis; `otherwise` if it fails."""
        breaker, began = self._replicator.breaker, self._clock()
        try:
            result = await self._within(operation)
        except AWAY as problem:
            breaker.failed(problem, began)
            return otherwise
        breaker.succeeded()
        return result

    async def _within(self, operation: "Awaitable[Result]") -> "Result":
        if self._replicator.breaker.is_open:
            if asyncio.iscoroutine(operation):
                operation.close()
            raise ConnectionError("Redis is unavailable")
        async with answer_within(ASK_WITHIN_S):
            return await operation
