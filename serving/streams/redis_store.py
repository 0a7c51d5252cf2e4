"""Recordings in Redis: what one gateway worker records, readers at another read.

    bondhu:flight:{identity}        who computes a request: the recording's id, for ALIVE_S, refreshed by its owner
    bondhu:tape:{id}:WHOSE          the recording: a stream of entries, for as long as it can be resumed
    bondhu:tape:{id}:owner          the worker that writes it, likewise for ALIVE_S: without it nobody does
    bondhu:tape:{id}:heard          somebody elsewhere reads it, refreshed by all who do
    bondhu:tapes:WORKER             a channel on which a worker is asked to write a recording, which it does then only
    bondhu:taped:{OWNER}            the recordings of a person: their keys, each until it expires
    bondhu:forgotten                whom to forget, newest last: every worker reads it and keeps nothing of theirs

An id begins with the worker that made it. Everything expires by itself; no clocks are compared. Entries: `n` number of
the first event, `d` events, `h` head, `u` tokens counted so far, `c` the request (recordings that can be resumed), `e`
end. WHOSE, a digest of the application and its end user (OWNER) and the path, makes a stranger's guess find nothing,
and tells nobody who it is. Only the first entry makes a recording: one that was forgotten does not come back with its
next. Methods raise redis.exceptions.RedisError or OSError when Redis is away; who calls bounds how long.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.typing import EncodableT, FieldT

from serving.protocol.owner import OWNER_DIGITS
from serving.protocol.request import GenerationRequest
from serving.protocol.usage import Usage
from serving.streams.recording import Head, Recording

PREFIX = "bondhu:tape"
ALIVE_S = 3.0
HEAR_S = 1.0
ALIVE_MS = round(ALIVE_S * 1000)
CHANNEL = PREFIX + "s:"
Fields = dict[bytes, bytes]

# A claim of this worker's own that it has not taken back yet is over: only one task of it computes an identity.
_CLAIM = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[2]) ~= ARGV[2] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return false
"""
# Files a recording of which something is kept for ARGV[2] ms from now; those that have expired leave the file.
_FILE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
FORGOTTEN = "bondhu:forgotten"
FORGOTTEN_S = 3600  # longer than a worker is without Redis and keeps a recording
MAX_FORGOTTEN = 10_000


def worker_of(recording_id: str) -> str:
    """The worker that made the recording."""
    return recording_id.rpartition("-")[0]


class RecordingStore:
    """The commands.

    Args:
        redis: as `open_redis` makes it.
        worker: this worker's name.

    """

    def __init__(self, redis: "Redis", worker: str) -> None:
        self.redis = redis
        self.worker = worker
        self._claim = redis.register_script(_CLAIM)

    async def claim(self, identity: str, recording_id: str) -> str | None:
        """Take on a request; returns the id of the recording of a worker that has done so before, None if nobody."""
        held = await self._claim([flight(identity)], [recording_id, f"{self.worker}-", ALIVE_MS])
        return None if held is None else bytes(held).decode()

    async def ask_for(self, recording_id: str, whose: str) -> bool:
        """Ask the worker that made it to write the recording; False when it is gone."""
        return bool(await self.redis.publish(CHANNEL + worker_of(recording_id), f"{recording_id} {whose}"))

    async def seize(self, recording_id: str) -> bool:
        """Become who writes the recording; False when somebody else does."""
        return bool(await self.redis.set(owner(recording_id), self.worker, nx=True, px=ALIVE_MS))

    async def is_resumable(self, recording_id: str, whose: str) -> bool:
        """Whether there is such a recording from its beginning, of a request that may be resumed."""
        first: Any = await self.redis.xrange(stream(recording_id, whose), count=1)
        return bool(first) and orjson.loads(first[0][1].get(b"c", b"null")) is not None

    async def hear(self, recording_id: str) -> None:
        """Say that somebody here reads a recording of another worker; to be repeated every HEAR_S."""
        await self.redis.set(heard(recording_id), 1, px=ALIVE_MS)

    async def read(
        self, recording_id: str, whose: str, last: bytes, block_ms: int | None
    ) -> list[tuple[bytes, Fields]]:
        """The entries after `last`, waiting for some for at most `block_ms`."""
        answer: Any = await self.redis.xread({stream(recording_id, whose): last}, count=1000, block=block_ms)
        streams = answer.items() if isinstance(answer, dict) else answer
        return [entry for _, batches in streams for entry in _flat(batches)]

    async def is_heard(self, recording_id: str) -> bool:
        """Whether somebody elsewhere has said `hear` since the last call."""
        return bool(await self.redis.delete(heard(recording_id)))

    async def say_gone(self, recording_id: str, whose: str) -> None:
        """Tell whoever waits for a recording that there is none."""
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.xadd(stream(recording_id, whose), {b"e": b"gone"})
            pipe.pexpire(stream(recording_id, whose), ALIVE_MS)
            await pipe.execute()

    async def forget(self, owner: str) -> None:
        """Delete the recordings of whose names begin with `owner`, and have every worker keep no more of them."""
        for key in await self._files(owner):
            recordings = await self.redis.zrange(key, 0, -1)
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.unlink(key, *recordings)
                await pipe.execute()
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.xadd(FORGOTTEN, {b"o": owner}, maxlen=MAX_FORGOTTEN)
            pipe.expire(FORGOTTEN, FORGOTTEN_S)
            await pipe.execute()

    async def count(self, owner: str) -> int:
        """How many recordings there are of whose names begin with `owner`."""
        kept: list[bytes] = []
        for key in await self._files(owner):
            kept += await self.redis.zrange(key, 0, -1)  # type: ignore[arg-type]  # of more options than are used
        return int(await self.redis.exists(*kept)) if kept else 0

    async def last_forgotten(self) -> bytes:
        """Up to where the list of the forgotten has been written."""
        newest: Any = await self.redis.xrevrange(FORGOTTEN, count=1)
        return bytes(newest[0][0]) if newest else b"0"

    async def forgotten(self, last: bytes, block_ms: int) -> list[tuple[bytes, str]]:
        """Who has been forgotten after `last`, and where in the list; waits for some for at most `block_ms`."""
        answer: Any = await self.redis.xread({FORGOTTEN: last}, block=block_ms)
        streams = answer.items() if isinstance(answer, dict) else answer
        return [(at, fields[b"o"].decode()) for _, batches in streams for at, fields in _flat(batches)]

    async def _files(self, owner: str) -> list[str]:
        """The keys of the files of a person; of an application's people by a look at all keys, on a rare occasion."""
        if len(owner) == OWNER_DIGITS:
            return [filed(owner)]
        return [key.decode() async for key in self.redis.scan_iter(match=filed(f"{owner}*"), count=1000)]


def _flat(batches: Any) -> Iterable[tuple[bytes, Fields]]:
    """The entries of one stream, which a RESP3 connection's answer nests once more."""
    for each in batches:
        if each and isinstance(each[0], bytes):
            yield each[0], each[1]
        else:
            yield from _flat(each)


def owner_in(whose: str) -> str:
    """The person, as a digest, in `serving.streams.policy.whose`."""
    return whose.partition("-")[0]


def flight(identity: str) -> str:
    """Key: who computes this request."""
    return f"bondhu:flight:{{{identity}}}"


def stream(recording_id: str, whose: str) -> str:
    """Key: the recording."""
    return f"{PREFIX}:{{{recording_id}}}:{whose}"


def owner(recording_id: str) -> str:
    """Key: who writes the recording."""
    return f"{PREFIX}:{{{recording_id}}}:owner"


def filed(owner: str) -> str:
    """Key: a person's recordings."""
    return f"bondhu:taped:{{{owner}}}"


def heard(recording_id: str) -> str:
    """Key: somebody elsewhere reads it."""
    return f"{PREFIX}:{{{recording_id}}}:heard"


class Copy:
    """How far a recording of this worker has been written.

    Args:
        recording: the recording.
        ttl_s: how long what was written is kept.
        since: events that are written already, with the head: by another worker, before this one went on.

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
        """Write what is new; returns how many events are written when that has been done. Raises ReaderTooSlow."""
        recording = self.recording
        fields: dict[FieldT, EncodableT] = {}
        data, upto = recording.since(self._next)
        is_first = not self._described
        if is_first or recording.end:
            self._file(pipe)
        if is_first:
            pipe.set(owner(recording.id), worker, px=ALIVE_MS)
            fields[b"c"] = _described(recording)
        if recording.head and not self._headed:
            fields[b"h"] = orjson.dumps(
                [recording.head.status, [[n.decode(), v.decode()] for n, v in recording.head.headers]]
            )
        if data:
            counted = recording.counted()
            counts = (counted.prompt_tokens, counted.cached_tokens, counted.completion_tokens)
            fields |= {b"n": b"%d" % self._next, b"d": data, b"u": orjson.dumps(counts)}
        if recording.end:
            fields[b"e"] = recording.end.encode()
        key = stream(recording.id, recording.whose)
        self._described, self._headed, self._next = True, recording.head is not None, upto
        self.is_complete = recording.end is not None
        if recording.end:
            pipe.delete(owner(recording.id))
        if recording.end == "dropped":
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
        """Say that it is still being written; the last of the answers tells by whom."""
        self._file(pipe)
        pipe.set(owner(self.recording.id), worker, nx=True, px=ALIVE_MS)
        pipe.pexpire(owner(self.recording.id), ALIVE_MS)
        pipe.pexpire(stream(self.recording.id, self.recording.whose), self._ttl_ms)
        pipe.get(owner(self.recording.id))

    def _file(self, pipe: Pipeline) -> None:
        """Have it found by whose it is, until the next refreshment and for as long as it is kept then."""
        key = stream(self.recording.id, self.recording.whose)
        pipe.eval(_FILE, 1, filed(owner_in(self.recording.whose)), key, self._ttl_ms + ALIVE_MS)


def _described(recording: Recording) -> bytes:
    """The request, as another worker needs it to go on; of a recording that nobody can resume, nothing."""
    call = recording.call
    if call is None or not recording.is_resumable:
        return b"null"
    linger_s = recording.linger_s if recording.linger_s != float("inf") else None
    return orjson.dumps(
        {"patience_s": linger_s, "path": call.path, "parsed": call.parsed, "model": call.model}
        | {"class_": call.class_, "app": call.app, "user": call.user}
        | {"allow_external": call.allow_external, "allow_sensitive": call.allow_sensitive}
        | {"conversation": call.conversation, "agent_conversation": call.agent_conversation}
    )


def apply(recording: Recording, fields: Fields, request_id: str) -> bool:
    """Add what an entry says, but for its end; False when something before it is missing."""
    if (described := orjson.loads(fields.get(b"c", b"null"))) and recording.call is None:
        linger_s = described.pop("patience_s")
        recording.linger_s = float("inf") if linger_s is None else linger_s
        recording.call = GenerationRequest(**described, request_id=request_id)
    if b"h" in fields:
        status, headers = orjson.loads(fields[b"h"])
        recording.head = Head(status, [(name.encode(), value.encode()) for name, value in headers])
    if b"d" in fields:
        number = int(fields[b"n"])
        if recording.head is None or number > recording.total:
            return False
        if number == recording.total:  # else it is there already: two workers took the recording for theirs
            recording.add(fields[b"d"])
            counts = Usage(*orjson.loads(fields[b"u"]))
            recording.counted = lambda: counts
    return True
