"""Writes this worker's recordings to Redis, and keeps saying that it computes what it computes.

A recording is written when its client may come back, or when another worker asks. Then its readers get an event only
once Redis has it, so that whoever comes back to another worker finds all that it had. Redis is told at most every
FLUSH_S, all recordings together, off every request's path. When it does not take something, that recording is of this
worker only from then on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from serving import errors
from serving.resilience.breaker import Breaker
from serving.resilience.deadline import answer_within
from serving.resilience.redis import AWAY
from serving.streams.recording import Recording
from serving.streams.redis_store import ALIVE_MS, CHANNEL, Copy, RecordingStore, flight, stream

log = logging.getLogger(__name__)

FLUSH_S = 0.02
FLUSH_WITHIN_S = 0.1
TICK_S = 1.0
LISTEN_MS = 5000
SHARED_S = 10.0  # how long a recording is kept for readers elsewhere that cannot come back


class Replicator:
    """One worker's.

    Args:
        store: the recordings in Redis.
        max_bytes: kept there of a recording.
        listens: whether other workers may ask for recordings.
        clock: monotonic seconds.

    """

    def __init__(
        self, store: RecordingStore, *, max_bytes: int, listens: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.breaker = Breaker("Redis, for streams,", clock=clock)
        self.find: Callable[[str], Recording | None] = lambda _: None  # a recording of this worker
        self.drop: Callable[[str], Awaitable[None]] = _drop_nothing  # what is of a person who has been forgotten
        self._store = store
        self._max_bytes = max_bytes
        self._listens = listens
        self._clock = clock
        self._copies: dict[str, Copy] = {}
        self._flights: set[str] = set()  # identities that this worker computes
        self._landed: set[str] = set()  # those that it has computed
        self._dirty: set[str] = set()
        self._news = asyncio.Event()
        self._flushing = asyncio.Lock()

    def publish(self, recording: Recording, *, ttl_s: float, since: int | None = None) -> None:
        """Write `recording` from now on (from event `since`, when another worker has written those before)."""
        if recording.id in self._copies or recording.is_forgotten or self.breaker.is_open:
            return
        self._copies[recording.id] = Copy(recording, ttl_s=ttl_s, since=since)
        recording.is_elsewhere = True
        if recording.is_resumable:
            recording.hold_back()
        recording.on_news = lambda: self._mark(recording.id)
        self._mark(recording.id)

    def took_off(self, identity: str) -> None:
        """This worker computes the request; keep saying so."""
        self._landed.discard(identity)
        self._flights.add(identity)

    def landed(self, identity: str) -> None:
        """It does not any more."""
        if identity in self._flights:
            self._flights.discard(identity)
            self._landed.add(identity)
            self._news.set()

    async def run(self) -> None:
        """Write, refresh and listen until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            tasks.create_task(self._repeat(self.tick))
            tasks.create_task(self._hear_of_forgotten())
            if self._listens:
                tasks.create_task(self._repeat(self._listen))

    async def forget(self, recordings: Sequence[Recording]) -> None:
        """Write no more of them, and delete what is written; raises what Redis raises."""
        written = [copy for recording in recordings if (copy := self._copies.get(recording.id))]
        for copy in written:
            self._give_up(copy)
        async with self._flushing:  # what is on its way to Redis now gets there before
            if written:
                await self._store.redis.unlink(*(stream(copy.recording.id, copy.recording.whose) for copy in written))

    async def flush(self) -> None:
        """Write what is new."""
        async with self._flushing:
            marked, self._dirty = self._dirty, set()
            landed, self._landed = self._landed, set()
            copies = [self._copies[recording_id] for recording_id in marked if recording_id in self._copies]
            if not copies and not landed:
                return
            try:
                written = await self._execute(copies, landed)
            except AWAY:
                for copy in copies:
                    self._give_up(copy)
                return
            for copy, upto in written:
                copy.recording.show(upto)
                if copy.is_complete:
                    self._copies.pop(copy.recording.id, None)

    async def tick(self) -> None:
        """Refresh what expires, and try a Redis that was away; raises what Redis raises."""
        copies = list(self._copies.values())
        async with answer_within(FLUSH_WITHIN_S), self._store.redis.pipeline(transaction=False) as pipe:
            pipe.ping()
            for identity in self._flights:
                pipe.pexpire(flight(identity), ALIVE_MS)
            owners = []
            for copy in copies:
                copy.refresh(pipe, self._store.worker)
                owners.append(len(pipe) - 1)
            if len(pipe) == 1 and not self.breaker.is_open:
                return
            answers = await pipe.execute()
        self.breaker.close()
        for copy, index in zip(copies, owners, strict=True):
            if answers[index] != self._store.worker.encode() and not copy.is_complete:
                self._give_up(copy)  # this worker stood still for so long that another took it over

    async def _execute(self, copies: list[Copy], landed: set[str]) -> list[tuple[Copy, int]]:
        written = []
        began = self._clock()
        try:
            async with answer_within(FLUSH_WITHIN_S), self._store.redis.pipeline(transaction=False) as pipe:
                if landed:
                    pipe.unlink(*map(flight, landed))
                for copy in copies:
                    try:
                        written.append((copy, copy.write(pipe, self._store.worker, self._max_bytes)))
                    except errors.ReaderTooSlow:  # more than is kept came in one go
                        self._give_up(copy)
                await pipe.execute()
        except AWAY as problem:
            self.breaker.failed(problem, began)
            raise
        self.breaker.succeeded()
        return written

    def _give_up(self, copy: Copy) -> None:
        self._copies.pop(copy.recording.id, None)
        copy.recording.on_news = lambda: None
        copy.recording.show(None)

    def _mark(self, recording_id: str) -> None:
        self._dirty.add(recording_id)
        self._news.set()

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self.flush()
            await asyncio.sleep(FLUSH_S)

    async def _hear_of_forgotten(self) -> None:
        """Drop what is of people whom another worker has been told to forget, however long Redis was away meanwhile."""
        last: bytes | None = None
        while True:
            try:
                if last is None:
                    last = await self._store.last_forgotten()
                for at, owner in await self._store.forgotten(last, LISTEN_MS):
                    await self.drop(owner)
                    last = at
            except AWAY as problem:
                log.debug("streams: Redis does not answer: %r", problem)
                await asyncio.sleep(TICK_S)

    async def _listen(self) -> None:
        async with self._store.redis.pubsub() as channel:
            await channel.subscribe(CHANNEL + self._store.worker)
            async for message in channel.listen():
                if message["type"] == "message":
                    recording_id, _, whose = message["data"].decode().partition(" ")
                    await self._asked_for(recording_id, whose)

    async def _asked_for(self, recording_id: str, whose: str) -> None:
        recording = self.find(recording_id)
        if recording is None or recording.whose != whose:
            await self._store.say_gone(recording_id, whose)
        else:
            self.publish(recording, ttl_s=SHARED_S)

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except AWAY as problem:
                log.debug("streams: Redis does not answer: %r", problem)
            await asyncio.sleep(TICK_S)


async def _drop_nothing(_: str) -> None:
    """Stands for a worker without recordings."""
