"""Copies this worker's recordings to Redis, and refreshes its claims on requests.

A recording is copied if its client can resume it, or if another worker asks for it. Readers of a resumable recording
only get events that are in Redis, so that a client that resumes at another worker finds all that it had. Redis is
written at most every FLUSH_S, all recordings together, off the request path. If a write fails, the recording stays
local from then on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serving import errors
from serving.resilience.redis import AWAY
from serving.streams.recording import Recording
from serving.streams.recordings import Recordings
from serving.streams.redis_store import ALIVE_MS, CHANNEL, Copy, RecordingStore, flight_key

log = logging.getLogger(__name__)

FLUSH_S = 0.02
FLUSH_TIMEOUT_S = 0.1
TICK_S = 1.0
LISTEN_MS = 5000
SHARED_S = 10.0  # time to live of a copy for other workers' readers that cannot resume


class Replicator:
    """The replicator of one worker.

    Args:
        store: the recordings in Redis.
        recordings: those of this worker.
        max_bytes: maximum size of a copy.
        listens: whether other workers may ask for recordings.

    """

    def __init__(self, store: RecordingStore, recordings: Recordings, *, max_bytes: int, listens: bool) -> None:
        self._store = store
        self._redis = store.redis
        self._recordings = recordings
        self._max_bytes = max_bytes
        self._listens = listens
        self._copies: dict[str, Copy] = {}
        self._in_flight: set[str] = set()  # identities of requests that this worker is computing
        self._finished: set[str] = set()  # those that have ended since the last flush
        self._dirty: set[str] = set()
        self._news = asyncio.Event()
        self._flushing = asyncio.Lock()

    def publish(self, recording: Recording, *, ttl_s: float, since: int | None = None) -> None:
        """Copy a recording from now on (from event `since`, if another worker has written the earlier ones)."""
        if recording.id in self._copies or recording.is_forgotten or self._redis.breaker.is_open:
            return
        self._copies[recording.id] = Copy(recording, ttl_s=ttl_s, since=since)
        recording.is_elsewhere = True
        if recording.is_resumable:
            recording.hold_back()
        recording.listener = self
        self.on_news(recording.id)

    def started(self, identity: str) -> None:
        """Note that this worker computes a request, and refresh its claim from now on."""
        self._finished.discard(identity)
        self._in_flight.add(identity)

    def finished(self, identity: str) -> None:
        """Note that the request has ended, and release its claim."""
        if identity in self._in_flight:
            self._in_flight.discard(identity)
            self._finished.add(identity)
            self._news.set()

    async def run(self) -> None:
        """Copy, refresh and listen until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            tasks.create_task(self._repeat(self.tick))
            tasks.create_task(self._watch_forgotten())
            if self._listens:
                tasks.create_task(self._repeat(self._listen))

    async def drop(self, owner: str) -> None:
        """Drop this worker's recordings of an owner, and delete their copies; raises what Redis raises."""
        written = [copy for recording in self._recordings.drop(owner) if (copy := self._copies.get(recording.id))]
        for copy in written:
            self._give_up(copy)
        async with self._flushing:  # wait for a write in progress
            if written:
                await self._store.unlink(copy.recording for copy in written)

    async def flush(self) -> None:
        """Write new events to Redis."""
        async with self._flushing:
            marked, self._dirty = self._dirty, set()
            finished, self._finished = self._finished, set()
            copies = [self._copies[recording_id] for recording_id in marked if recording_id in self._copies]
            if not copies and not finished:
                return
            try:
                written = await self._execute(copies, finished)
            except AWAY:
                for copy in copies:
                    self._give_up(copy)
                return
            for copy, upto in written:
                copy.recording.show(upto)
                if copy.is_complete:
                    self._copies.pop(copy.recording.id, None)

    async def tick(self) -> None:
        """Refresh keys that expire, and probe Redis if it was unavailable; raises what Redis raises."""
        copies = list(self._copies.values())
        async with self._redis.probing(FLUSH_TIMEOUT_S), self._redis.client.pipeline(transaction=False) as pipe:
            pipe.ping()
            for identity in self._in_flight:
                pipe.pexpire(flight_key(identity), ALIVE_MS)
            owners = []
            for copy in copies:
                copy.refresh(pipe, self._store.worker)
                owners.append(len(pipe) - 1)
            if len(pipe) == 1 and not self._redis.breaker.is_open:
                return
            answers = await pipe.execute()
        self._redis.breaker.close()
        for copy, index in zip(copies, owners, strict=True):
            if answers[index] != self._store.worker.encode() and not copy.is_complete:
                self._give_up(copy)  # this worker hung for so long that another took over

    async def _execute(self, copies: list[Copy], finished: set[str]) -> list[tuple[Copy, int]]:
        written = []
        async with self._redis.probing(FLUSH_TIMEOUT_S), self._redis.client.pipeline(transaction=False) as pipe:
            if finished:
                pipe.unlink(*map(flight_key, finished))
            for copy in copies:
                try:
                    written.append((copy, copy.write(pipe, self._store.worker, self._max_bytes)))
                except errors.ReaderTooSlow:  # more arrived at once than the buffer holds
                    self._give_up(copy)
            await pipe.execute()
        return written

    def _give_up(self, copy: Copy) -> None:
        self._copies.pop(copy.recording.id, None)
        copy.recording.listener = None
        copy.recording.show(None)

    def on_news(self, recording_id: str) -> None:
        """Copy the news with the next write; see `serving.streams.recording.Listener`."""
        self._dirty.add(recording_id)
        self._news.set()

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self.flush()
            await asyncio.sleep(FLUSH_S)

    async def _watch_forgotten(self) -> None:
        """Drop recordings of owners that were erased at another worker, also after an outage of Redis."""
        last: bytes | None = None
        while True:
            try:
                if last is None:
                    last = await self._store.last_forgotten()
                for at, owner in await self._store.forgotten(last, LISTEN_MS):
                    await self.drop(owner)
                    last = at
            except AWAY as problem:
                log.debug("streams: Redis does not respond: %r", problem)
                await asyncio.sleep(TICK_S)

    async def _listen(self) -> None:
        async with self._redis.client.pubsub() as channel:
            await channel.subscribe(CHANNEL + self._store.worker)
            async for message in channel.listen():
                if message["type"] == "message":
                    recording_id, _, access_key = message["data"].decode().partition(" ")
                    await self._on_request(recording_id, access_key)

    async def _on_request(self, recording_id: str, access_key: str) -> None:
        recording = self._recordings.find(recording_id)
        if recording is None or recording.access_key != access_key:
            await self._store.say_gone(recording_id, access_key)
        else:
            self.publish(recording, ttl_s=SHARED_S)

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except AWAY as problem:
                log.debug("streams: Redis does not respond: %r", problem)
            await asyncio.sleep(TICK_S)
