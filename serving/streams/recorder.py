"""The recordings of one gateway worker: each fed by a generation here, or from that of another worker.

A request is claimed in Redis, so that over all workers one computes it; the others follow its recording. Who follows
takes the recording over when nobody writes it any more, and goes on from its text. A generation goes on while somebody
reads it, here or elsewhere, or may come back. Without Redis all of this holds within the worker.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from starlette.types import Message

from serving import errors
from serving.generation.continuation import can_be_continued
from serving.generation.pipeline import Sent
from serving.protocol.request import GenerationRequest
from serving.resilience.deadline import answer_within
from serving.resilience.drain import Drain
from serving.resilience.redis import AWAY
from serving.streams.policy import whose
from serving.streams.reader import RecordingResponse
from serving.streams.recording import Recording
from serving.streams.redis_store import HEAR_S, Fields, RecordingStore, apply
from serving.streams.replicator import SHARED_S, Replicator

log = logging.getLogger(__name__)

ASK_WITHIN_S = 0.05
READ_BLOCK_MS = 100
FORGET_WITHIN_S = 5.0
READ_WITHIN_S = 0.35  # a Redis that froze holds a reader up for that long
SILENT_S = 1.0  # without news, whoever writes a recording may be gone; whether it is, Redis knows
POLL_S = 0.1
MAX_KEPT = 256  # ended recordings; older ones are in Redis
Answer = TypeVar("Answer")


class Recorder:
    """One worker's.

    Args:
        store: the recordings in Redis.
        publisher: writes this worker's there.
        shares: whether other workers' requests count as identical ones.
        drain: the worker's end.
        max_bytes: kept of a recording.
        keep_s: how long an ended one can be resumed.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        *,
        store: RecordingStore,
        publisher: Replicator,
        shares: bool,
        drain: Drain,
        max_bytes: int,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._shares = shares
        self._drain = drain
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._clock = clock
        self._flights: dict[str, Recording] = {}  # by identity
        self._known: dict[str, Recording] = {}  # by id
        self._ended: dict[str, Recording] = {}  # that can be resumed, oldest first
        self._works: set[asyncio.Task[None]] = set()
        publisher.find = self._known.get
        publisher.drop = self._drop

    def of(
        self, call: GenerationRequest, identity: str | None, entry_id: str, linger_s: float
    ) -> tuple[Recording, bool]:
        """The recording that answers `call`, and whether it is a new one.

        Args:
            call: the request.
            identity: what identical requests have in common; None: it is not shared.
            entry_id: the request's in the ledger.
            linger_s: how long it is wanted without its client.

        """
        found = self._flights.get(identity) if identity else None
        if found is not None and found.is_whole:
            return found, False
        recording = self._new(
            entry_id,
            call,
            whose(call.app, call.user, call.path),
            is_resumable=call.streams and linger_s > 0,
            linger_s=linger_s,
        )
        if identity:
            recording.identity = identity
            self._flights[identity] = recording
        self._start(self._answer(recording))
        return recording, True

    async def find(self, recording_id: str, whose_: str) -> Recording:
        """The recording that a client comes back to; raises UnknownStream."""
        if recording_id not in self._known and not await self._ask(
            self._store.is_resumable(recording_id, whose_), False
        ):
            raise errors.UnknownStream
        recording = self._known.get(recording_id)
        if recording is None:
            recording = self._new(recording_id, None, whose_, is_resumable=True, linger_s=0.0)
            self._start(self._follow_on(recording))
        if recording.whose != whose_ or not recording.is_resumable:
            raise errors.UnknownStream
        return recording

    async def forget(self, owner: str) -> None:
        """Keep no recording of a person (`owner_of`), or of an application's people (`owners_of`), at any worker.

        Who reads one at this moment gets the rest of it, and cannot come back. Raises what is in AWAY.
        """
        async with answer_within(FORGET_WITHIN_S):
            await self._drop(owner)
            await self._store.forget(owner)

    async def count(self, owner: str) -> int:
        """How many recordings of theirs can be read again, in Redis and at this worker. Raises what is in AWAY."""
        async with answer_within(FORGET_WITHIN_S):
            in_redis = await self._store.count(owner)
        return in_redis + sum(recording.whose.startswith(owner) for recording in self._known.values())

    def numbers(self) -> dict[str, float]:
        """How many recordings are in the making, and how many clients read one."""
        readers = sum(len(recording.readers) for recording in self._known.values())
        return {"recordings": len(self._works), "readers": readers}

    async def close(self) -> None:
        """Return once everything has ended, which the drain sees to, and Redis knows."""
        while self._works:
            await asyncio.wait(self._works)
        await self._publisher.flush()

    def _new(
        self, id_: str, call: GenerationRequest | None, whose_: str, *, is_resumable: bool, linger_s: float
    ) -> Recording:
        recording = self._known[id_] = Recording(
            id_,
            call,
            whose_,
            is_resumable=is_resumable,
            linger_s=linger_s,
            max_bytes=self._max_bytes,
            clock=self._clock,
        )
        return recording

    def _start(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)

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
            there = await self._ask(self._store.ask_for(recording.id, recording.whose), False)
            await self._follow(recording, is_written=there)
        finally:
            self._settle(recording)

    async def _follow_on(self, recording: Recording) -> None:
        try:
            await self._follow(recording, is_written=True)
        finally:
            self._settle(recording)

    async def _claim(self, recording: Recording, identity: str) -> str | None:
        """The id of the recording that another worker makes; None when this one has to."""
        unknown = object()
        elsewhere = await self._ask(self._store.claim(identity, recording.id), unknown)
        if elsewhere is unknown:
            return None
        if elsewhere is None:
            self._publisher.took_off(identity)
        return elsewhere  # type: ignore[return-value]  # what is left is the claim's answer

    async def _follow(self, recording: Recording, *, is_written: bool) -> None:
        """Copy another worker's recording to its end; go on by itself where nobody writes any more."""
        how = await self._copy(recording, is_written=is_written)
        if how in ("seized", "alone"):
            since = recording.total if recording.head else None
            await self._produce(recording, since=since, publishes=how == "seized")

    async def _copy(self, recording: Recording, *, is_written: bool) -> Literal["ended", "seized", "alone"]:
        last, told_at = b"0", float("-inf")
        news_at = self._clock() if is_written else float("-inf")
        try:
            while recording.is_wanted() and not self._drain.is_over:
                if self._clock() - told_at >= HEAR_S:
                    told_at = self._clock()
                    await self._within(self._store.hear(recording.id))
                entries = await self._entries(recording, last, READ_BLOCK_MS if is_written else None)
                is_written = True  # by whoever is faster, if it cannot be seized
                if entries:
                    last, news_at = entries[-1][0], self._clock()
                    if await self._apply(recording, entries):
                        return "ended"
                is_over = bool(entries) and entries[-1][1].get(b"e") == b"gone"
                is_silent = self._clock() - news_at > SILENT_S
                if (is_over or is_silent) and recording.readers and await self._within(self._store.seize(recording.id)):
                    rest = await self._entries(recording, last, None)  # written since the last look
                    return "ended" if await self._apply(recording, rest) else "seized"
        except AWAY as problem:
            log.info("recording %s cannot be followed: %r", recording.id, problem)
            return "alone" if recording.readers else "ended"
        if self._drain.is_over:
            recording.finish("gone")
        return "ended"

    async def _apply(self, recording: Recording, entries: list[tuple[bytes, Fields]]) -> bool:
        """Copy entries; returns whether the recording has ended."""
        request_id = recording.id if recording.call is None else recording.call.request_id
        for _, fields in entries:
            if not apply(recording, fields, request_id):
                recording.fail(errors.UnknownStream() if recording.head is None else errors.ReaderTooSlow())
                return True
        recording.tell()
        await recording.make_room()
        if not entries or entries[-1][1].get(b"e") != b"complete":
            return False
        recording.finish("complete")
        return True

    async def _entries(self, recording: Recording, last: bytes, block_ms: int | None) -> list[tuple[bytes, Fields]]:
        async with answer_within(READ_WITHIN_S):
            return await self._store.read(recording.id, recording.whose, last, block_ms)

    async def _produce(self, recording: Recording, *, since: int | None, publishes: bool) -> None:
        """Generate what is missing, with the entry of one of the readers."""
        call = recording.call
        sent = Sent(recording.blocks(), recording.counted()) if since is not None else None
        if call is None or (sent and not (recording.is_whole and can_be_continued(call))):
            recording.fail(errors.EngineFailed("The gateway worker that answered this stopped in the middle of it."))
            return
        readers = [reader for reader in recording.readers if isinstance(reader, RecordingResponse)]
        generation = next((made for reader in readers if (made := reader.give(call, sent))), None)
        if generation is None:
            return
        recording.counted = lambda: generation.counted
        if publishes:
            self._publisher.publish(recording, ttl_s=self._keep_s if recording.is_resumable else SHARED_S, since=since)

        async def left() -> Message:
            await self._until_abandoned(recording)
            return {"type": "http.disconnect"}

        try:
            await generation({}, left, recording.send)
        except errors.ApiError as problem:
            recording.fail(problem)
        except Exception:
            log.exception("a shared generation failed")
            recording.fail(
                errors.ApiError("The gateway failed on this request; its log says why.", code="internal_error")
            )

    async def _until_abandoned(self, recording: Recording) -> None:
        """Return once nobody wants the answer any more; from then on nobody can."""
        called_at = float("-inf")
        while True:
            await recording.unread()
            if recording.is_wanted():
                await asyncio.sleep(POLL_S)
                continue
            if recording.is_elsewhere:
                await asyncio.sleep(called_at + 2 * HEAR_S - self._clock())
                called_at = self._clock()
                if await self._ask(self._store.is_heard(recording.id), False) or recording.is_wanted():
                    continue
            self._remove(recording)
            return

    def _settle(self, recording: Recording) -> None:
        """Its task ends."""
        self._remove(recording)
        if recording.identity and recording.identity not in self._flights:  # else it has taken off again since
            self._publisher.landed(recording.identity)
        if recording.end is None:
            recording.finish("gone" if self._drain.is_over and recording.is_resumable else "dropped")
        if recording.end == "complete" and recording.is_resumable:
            self._keep(recording)

    async def _drop(self, owner: str) -> None:
        """What this worker has of theirs."""
        recordings = [recording for recording in self._known.values() if recording.whose.startswith(owner)]
        for recording in recordings:
            recording.forget()
            self._remove(recording)
            self._ended.pop(recording.id, None)
        await self._publisher.forget(recordings)

    def _remove(self, recording: Recording) -> None:
        """No request finds it any more."""
        if self._known.get(recording.id) is recording:
            del self._known[recording.id]
        if recording.identity and self._flights.get(recording.identity) is recording:
            del self._flights[recording.identity]

    def _keep(self, recording: Recording) -> None:
        self._known[recording.id] = self._ended[recording.id] = recording
        asyncio.get_running_loop().call_later(self._keep_s, self._let_go, recording.id)
        if len(self._ended) > MAX_KEPT:
            self._let_go(next(iter(self._ended)))

    def _let_go(self, recording_id: str) -> None:
        self._known.pop(recording_id, None)
        self._ended.pop(recording_id, None)

    async def _ask(self, call: "Awaitable[Answer]", otherwise: "Answer") -> "Answer":
        """What Redis answers; `otherwise` when it does not."""
        breaker, began = self._publisher.breaker, self._clock()
        try:
            answer = await self._within(call)
        except AWAY as problem:
            breaker.failed(problem, began)
            return otherwise
        breaker.succeeded()
        return answer

    async def _within(self, call: "Awaitable[Answer]") -> "Answer":
        if self._publisher.breaker.is_open:
            if asyncio.iscoroutine(call):
                call.close()
            raise ConnectionError("Redis is away")
        async with answer_within(ASK_WITHIN_S):
            return await call
