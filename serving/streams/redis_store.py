"""Recordings in Redis, so that clients of other workers can read what one worker records.

    bondhu:flight:{identity}        id of the recording that computes a request, for ALIVE_S, refreshed by its worker
    bondhu:tape:{id}:ACCESS         the recording: a stream of entries, for as long as it can be resumed
    bondhu:tape:{id}:owner          the worker that writes it, for ALIVE_S, refreshed; without it, nobody writes
    bondhu:tape:{id}:heard          set while other workers read it, refreshed by them
    bondhu:tapes:WORKER             channel for asking a worker to write a recording; it does not write unasked
    bondhu:taped:{OWNER}            the keys of a person's recordings, each until it expires
    bondhu:forgotten                erased owners, newest last; every worker reads it and drops their recordings

An id starts with the name of its worker. All keys expire by themselves; no clocks are compared. Fields of entries: `n`
number of the first event, `d` events, `h` head, `u` usage so far, `c` the request (of resumable recordings), `e` end.
ACCESS is a digest of application and end user (OWNER) and of the path, so that other users cannot find a recording by
its id. Only the first entry creates a stream: a deleted one does not come back with its next entry. Methods raise what
is in `serving.resilience.redis.AWAY` if Redis is unavailable.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from redis.asyncio.client import Pipeline
from redis.typing import EncodableT, FieldT

from serving.protocol.owner import OWNER_DIGITS
from serving.protocol.request import GenerationRequest
from serving.protocol.usage import Usage
from serving.resilience.redis import ERASE_TIMEOUT_S, GuardedRedis
from serving.streams.recording import Head, Recording

PREFIX = "bondhu:tape"
ALIVE_S = 3.0
HEAR_S = 1.0
ALIVE_MS = round(ALIVE_S * 1000)
CHANNEL = PREFIX + "s:"
Fields = dict[bytes, bytes]

# This worker's own earlier claim is over: only one of its tasks computes an identity.
_CLAIM = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[2]) ~= ARGV[2] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return false
"""
# Adds a recording to its owner's index for ARGV[2] ms, and removes expired ones.
_FILE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
FORGOTTEN = "bondhu:forgotten"
FORGOTTEN_S = 3600  # longer than a worker keeps a recording while Redis is unavailable
MAX_FORGOTTEN = 10_000
READ_TIMEOUT_S = 0.35  # maximum delay of a reader when Redis hangs


def worker_of(recording_id: str) -> str:
    """The worker that made the recording."""
    return recording_id.rpartition("-")[0]


class RecordingStore:
    """The commands.

    Args:
        redis: Redis, guarded for streams.
        worker: this worker's name.

    """

    def __init__(self, redis: GuardedRedis, worker: str) -> None:
        self.redis = redis
        self.worker = worker
        self._client = redis.client
        self._claim = redis.client.register_script(_CLAIM)

    async def claim(self, identity: str, recording_id: str) -> str | None:
        """Claim a request; returns None, or the id of the recording of the worker that has claimed it before."""
        async with self.redis.calling():
            held = await self._claim([flight_key(identity)], [recording_id, f"{self.worker}-", ALIVE_MS])
        return None if held is None else bytes(held).decode()

    async def ask_for(self, recording_id: str, access_key: str) -> bool:
        """Ask a recording's worker to write it; False if that worker is gone."""
        async with self.redis.calling():
            return bool(await self._client.publish(CHANNEL + worker_of(recording_id), f"{recording_id} {access_key}"))

    async def seize(self, recording_id: str) -> bool:
        """Become the writer of the recording; False if another worker is."""
        async with self.redis.calling():
            return bool(await self._client.set(writer_key(recording_id), self.worker, nx=True, px=ALIVE_MS))

    async def is_resumable(self, recording_id: str, access_key: str) -> bool:
        """Whether the recording exists from its beginning and can be resumed."""
        async with self.redis.calling():
            first: Any = await self._client.xrange(stream_key(recording_id, access_key), count=1)
        return bool(first) and orjson.loads(first[0][1].get(b"c", b"null")) is not None

    async def hear(self, recording_id: str) -> None:
        """Note that a client here reads another worker's recording; must be repeated every HEAR_S."""
        async with self.redis.calling():
            await self._client.set(reader_key(recording_id), 1, px=ALIVE_MS)

    async def read(
        self, recording_id: str, access_key: str, last: bytes, block_ms: int | None
    ) -> list[tuple[bytes, Fields]]:
        """The entries after `last`; waits for at most `block_ms` if there are none."""
        key = stream_key(recording_id, access_key)
        async with self.redis.calling(READ_TIMEOUT_S):
            answer: Any = await self._client.xread({key: last}, count=1000, block=block_ms)
        streams = answer.items() if isinstance(answer, dict) else answer
        return [entry for _, batches in streams for entry in _flat(batches)]

    async def is_heard(self, recording_id: str) -> bool:
        """Whether another worker has called `hear` since the last check."""
        async with self.redis.calling():
            return bool(await self._client.delete(reader_key(recording_id)))

    async def say_gone(self, recording_id: str, access_key: str) -> None:
        """Tell waiting workers that the recording does not exist."""
        async with self.redis.probing(), self._client.pipeline(transaction=False) as pipe:
            pipe.xadd(stream_key(recording_id, access_key), {b"e": b"gone"})
            pipe.pexpire(stream_key(recording_id, access_key), ALIVE_MS)
            await pipe.execute()

    async def forget(self, owner: str) -> None:
        """Delete the recordings of all owners with the prefix `owner`, and make every worker drop theirs."""
        async with self.redis.probing(ERASE_TIMEOUT_S):
            for key in await self._files(owner):
                recordings = await self._client.zrange(key, 0, -1)
                await self._client.unlink(key, *recordings)
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xadd(FORGOTTEN, {b"o": owner}, maxlen=MAX_FORGOTTEN)
                pipe.expire(FORGOTTEN, FORGOTTEN_S)
                await pipe.execute()

    async def count(self, owner: str) -> int:
        """The number of recordings of all owners with the prefix `owner`."""
        kept: list[bytes] = []
        async with self.redis.probing(ERASE_TIMEOUT_S):
            for key in await self._files(owner):
                kept += await self._client.zrange(key, 0, -1)  # type: ignore[arg-type]  # of more options than are used
            return int(await self._client.exists(*kept)) if kept else 0

    async def unlink(self, recordings: Iterable[Recording]) -> None:
        """Delete recordings of this worker."""
        async with self.redis.probing(ERASE_TIMEOUT_S):
            await self._client.unlink(*(stream_key(each.id, each.access_key) for each in recordings))

    async def last_forgotten(self) -> bytes:
        """The position of the last erased owner."""
        async with self.redis.probing():
            newest: Any = await self._client.xrevrange(FORGOTTEN, count=1)
        return bytes(newest[0][0]) if newest else b"0"

    async def forgotten(self, last: bytes, block_ms: int) -> list[tuple[bytes, str]]:
        """(position, owner) of owners erased after `last`; waits for at most `block_ms` if there are none."""
        async with self.redis.probing(block_ms / 1000 + READ_TIMEOUT_S):
            answer: Any = await self._client.xread({FORGOTTEN: last}, block=block_ms)
        streams = answer.items() if isinstance(answer, dict) else answer
        return [(at, fields[b"o"].decode()) for _, batches in streams for at, fields in _flat(batches)]

    async def _files(self, owner: str) -> list[str]:
        """The index key of a person, or those of all people of an application, by a scan over all keys."""
        if len(owner) == OWNER_DIGITS:
            return [owner_key(owner)]
        return [key.decode() async for key in self._client.scan_iter(match=owner_key(f"{owner}*"), count=1000)]


def _flat(batches: Any) -> Iterable[tuple[bytes, Fields]]:
    """The entries of one stream, which RESP3 connections nest once more."""
    for batch in batches:
        if batch and isinstance(batch[0], bytes):
            yield batch[0], batch[1]
        else:
            yield from _flat(batch)


def owner_in(access_key: str) -> str:
    """The owner's digest in `serving.streams.policy.access_key`."""
    return access_key.partition("-")[0]


def flight_key(identity: str) -> str:
    """Redis key: the recording that computes a request."""
    return f"bondhu:flight:{{{identity}}}"


def stream_key(recording_id: str, access_key: str) -> str:
    """Redis key: the recording."""
    return f"{PREFIX}:{{{recording_id}}}:{access_key}"


def writer_key(recording_id: str) -> str:
    """Redis key: the worker that writes the recording."""
    return f"{PREFIX}:{{{recording_id}}}:owner"


def owner_key(owner: str) -> str:
    """Redis key: the index of a person's recordings."""
    return f"bondhu:taped:{{{owner}}}"


def reader_key(recording_id: str) -> str:
    """Redis key: set while other workers read the recording."""
    return f"{PREFIX}:{{{recording_id}}}:heard"


class Copy:
    """Copies a recording of this worker to Redis.

    Args:
        recording: the recording.
        ttl_s: time to live of the copy.
        since: number of events that another worker has written, with the head, before this one took over.

    """

    def __init__(self, recording: Recording, *, ttl_s: float, since: int | None = None) -> None:
        self.recording = recording
        self.is_complete = False
        self._ttl_ms = round(ttl_s * 1000)
        self._next = since or 0
        self._headed = since is not None and recording.head is not None
        self._described = since is not None
        self._kept_bytes = 0
        self._entries = 0

    def write(self, pipe: Pipeline, worker: str, max_bytes: int) -> int:
        """Queue the new events in `pipe`; returns the number of events written then. Raises ReaderTooSlow."""
        recording = self.recording
        fields: dict[FieldT, EncodableT] = {}
        data, upto = recording.since(self._next)
        is_first = not self._described
        if is_first or recording.ended:
            self._file(pipe)
        if is_first:
            pipe.set(writer_key(recording.id), worker, px=ALIVE_MS)
            fields[b"c"] = _described(recording)
        if recording.head and not self._headed:
            fields[b"h"] = orjson.dumps(
                [recording.head.status, [[n.decode(), v.decode()] for n, v in recording.head.headers]]
            )
        if data:
            counted = recording.counted()
            counts = (counted.prompt_tokens, counted.cached_tokens, counted.completion_tokens)
            fields |= {b"n": b"%d" % self._next, b"d": data, b"u": orjson.dumps(counts)}
        if recording.ended:
            fields[b"e"] = recording.ended.encode()
        key = stream_key(recording.id, recording.access_key)
        self._described, self._headed, self._next = True, recording.head is not None, upto
        self.is_complete = recording.ended is not None
        if recording.ended:
            pipe.delete(writer_key(recording.id))
        if recording.ended == "dropped":
            pipe.delete(key)
            return upto
        if fields:
            pipe.xadd(key, fields, nomkstream=not is_first)
            self._entries += 1
            self._kept_bytes += len(data)
        if self._kept_bytes > max_bytes:
            self._entries, self._kept_bytes = self._entries // 2, self._kept_bytes // 2
            pipe.xtrim(key, maxlen=self._entries, approximate=False)
        pipe.pexpire(key, self._ttl_ms)
        return upto

    def refresh(self, pipe: Pipeline, worker: str) -> None:
        """Queue commands that keep the copy alive; the result of the last one is its writer."""
        self._file(pipe)
        pipe.set(writer_key(self.recording.id), worker, nx=True, px=ALIVE_MS)
        pipe.pexpire(writer_key(self.recording.id), ALIVE_MS)
        pipe.pexpire(stream_key(self.recording.id, self.recording.access_key), self._ttl_ms)
        pipe.get(writer_key(self.recording.id))

    def _file(self, pipe: Pipeline) -> None:
        """Queue an update of the owner's index."""
        key = stream_key(self.recording.id, self.recording.access_key)
        pipe.eval(_FILE, 1, owner_key(owner_in(self.recording.access_key)), key, self._ttl_ms + ALIVE_MS)


def _described(recording: Recording) -> bytes:
    """The request as JSON, for a worker that takes over; `null` for a recording that cannot be resumed."""
    request = recording.request
    if request is None or not recording.is_resumable:
        return b"null"
    linger_s = recording.linger_s if recording.linger_s != float("inf") else None
    return orjson.dumps(
        {"patience_s": linger_s, "path": request.path, "parsed": request.parsed, "model": request.model}
        | {"class_": request.class_, "app": request.app, "user": request.user}
        | {"allow_external": request.allow_external, "allow_sensitive": request.allow_sensitive}
        | {"conversation": request.conversation, "agent_conversation": request.agent_conversation}
        | {"country": request.country, "checks_safety": request.checks_safety}
    )


def apply(recording: Recording, fields: Fields, request_id: str) -> bool:
    """Add an entry to a recording, except its end; False if earlier events are missing."""
    if (described := orjson.loads(fields.get(b"c", b"null"))) and recording.request is None:
        linger_s = described.pop("patience_s")
        recording.linger_s = float("inf") if linger_s is None else linger_s
        recording.request = GenerationRequest(**described, request_id=request_id)
    if b"h" in fields:
        status, headers = orjson.loads(fields[b"h"])
        recording.head = Head(status, [(name.encode(), value.encode()) for name, value in headers])
    if b"d" in fields:
        number = int(fields[b"n"])
        if recording.head is None or number > recording.total:
            return False
        if number == recording.total:  # otherwise it is a duplicate: two workers wrote the recording
            recording.add(fields[b"d"])
            recording.copied = Usage(*orjson.loads(fields[b"u"]))
    return True
