"""Recordings in Redis are filed by whose they are, under names that tell nobody, and are gone when told."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from serving.errors import CacheAway
from serving.protocol.owner import OWNER_DIGITS, owner_of, owners_of
from serving.protocol.request import CHAT, COMPLETION, GenerationRequest
from serving.resilience.redis import GuardedRedis, open_redis
from serving.streams.erasure import RecordingErasure
from serving.streams.policy import access_key
from serving.streams.recording import Recording
from serving.streams.recordings import Recordings
from serving.streams.redis_store import Copy, RecordingStore, stream_key
from serving.streams.replicator import Replicator
from storage.memory.owner import Owner
from tests.support.databases.redis_process import RedisProcess

MAYA, NOOR = Owner("shop", "maya"), Owner("shop", "noor")
MAX_BYTES = 1_000_000


@pytest.fixture
async def redis(redis_process: RedisProcess) -> AsyncIterator["Redis"]:
    """Return a client of an empty Redis."""
    client = open_redis(redis_process.url)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: "Redis") -> RecordingStore:
    """Return a worker's recordings."""
    return RecordingStore(GuardedRedis(redis, timeout_s=5.0), "worker")


def forgetful(store: RecordingStore) -> RecordingErasure:
    """Return the place that forgets them."""
    recordings = Recordings(keep_s=60)
    return RecordingErasure(recordings, store, Replicator(store, recordings, max_bytes=MAX_BYTES, listens=False))


def record(owner: Owner, number: int, path: str = CHAT) -> Recording:
    """Return a recording with an event of that person's."""
    request = GenerationRequest(
        path, {"stream": True}, "m", "r", owner.app, owner.user, "interactive", allow_external=False
    )
    recording = Recording(
        f"ab-{number}",
        request,
        access_key(owner.app, owner.user, path),
        is_resumable=True,
        linger_s=0,
        max_bytes=MAX_BYTES,
        clock=lambda: 0.0,
    )
    recording.add(b"data: hello\n\n")
    return recording


async def write(redis: "Redis", copy: Copy) -> None:
    """Write what is new of a recording."""
    async with redis.pipeline(transaction=False) as pipe:
        copy.write(pipe, "worker", MAX_BYTES)
        await pipe.execute()


async def test_what_is_forgotten_is_gone_and_stays_gone(redis: "Redis", store: RecordingStore) -> None:
    """Every recording of theirs, of both paths; what is written on does not come back, and another's stays."""
    target = forgetful(store)
    copies = [
        Copy(record(MAYA, 1), ttl_s=60),
        Copy(record(MAYA, 2, COMPLETION), ttl_s=60),
        Copy(record(NOOR, 3), ttl_s=60),
    ]
    for copy in copies:
        await write(redis, copy)
    assert [await target.count(each) for each in (MAYA, NOOR, "shop", "other")] == [2, 1, 3, 0]
    await target.forget(MAYA)
    copies[0].recording.add(b"data: more\n\n")
    copies[0].recording.ended = "complete"
    await write(redis, copies[0])
    assert [await target.count(each) for each in (MAYA, NOOR)] == [0, 1]
    assert [await redis.exists(stream_key(each.recording.id, each.recording.access_key)) for each in copies] == [
        0,
        0,
        1,
    ]
    await write(redis, Copy(record(MAYA, 4), ttl_s=60))
    assert await target.count(MAYA) == 1
    await target.forget("shop")
    assert [await target.count(each) for each in (MAYA, NOOR, "shop")] == [0, 0, 0]


async def test_names_are_not_in_keys(redis: "Redis", store: RecordingStore) -> None:
    """A key tells neither the application nor its end user."""
    await write(redis, Copy(record(MAYA, 1), ttl_s=60))
    await forgetful(store).forget(MAYA)
    await write(redis, Copy(record(MAYA, 2), ttl_s=60))
    keys = b" ".join(await redis.keys())
    assert b"taped" in keys
    assert b"maya" not in keys
    assert b"shop" not in keys
    assert len(owner_of("shop", "maya")) == OWNER_DIGITS > len(owners_of("shop"))


async def test_every_worker_hears_of_it(redis: "Redis", store: RecordingStore) -> None:
    """A reader that continues the list finds the people erased since, in order."""
    target, before = forgetful(store), await store.last_forgotten()
    await target.forget(MAYA)
    between = await store.last_forgotten()
    await target.forget("shop")
    assert [owner for _, owner in await store.forgotten(before, 1)] == [owner_of("shop", "maya"), owners_of("shop")]
    assert [owner for _, owner in await store.forgotten(between, 1)] == [owners_of("shop")]


async def test_without_redis_nothing_is_reported_as_forgotten(
    store: RecordingStore, redis_process: RedisProcess
) -> None:
    """It may still be there."""
    redis_process.kill()
    for ask in (forgetful(store).forget, forgetful(store).count):
        with pytest.raises(CacheAway):
            await ask(MAYA)
