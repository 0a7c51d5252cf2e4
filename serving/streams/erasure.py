"""Erasure of a person's recordings (implements `memory.erasure.ErasureTarget`)."""

from serving.protocol.owner import owner_of, owners_of
from serving.resilience.redis import erasing
from serving.streams.recordings import Recordings
from serving.streams.redis_store import RecordingStore
from serving.streams.replicator import Replicator
from storage.memory.owner import Owner


class RecordingErasure:
    """Deletes recordings and counts what is left; both raise CacheAway if Redis is unavailable.

    Args:
        recordings: those of this worker.
        store: those in Redis.
        replicator: copies the one to the other.

    """

    def __init__(self, recordings: Recordings, store: RecordingStore, replicator: Replicator) -> None:
        self._recordings = recordings
        self._store = store
        self._replicator = replicator

    async def forget(self, whom: Owner | str) -> None:
        """Delete the recordings of a person, or of a whole application, at all workers, also those in progress.

        Current readers get the rest, but cannot resume.
        """
        owner = _digest(whom)
        with erasing():
            await self._replicator.drop(owner)
            await self._store.forget(owner)

    async def count(self, whom: Owner | str) -> int:
        """The number of recordings, in Redis and at this worker."""
        owner = _digest(whom)
        with erasing():
            in_redis = await self._store.count(owner)
        return in_redis + len(self._recordings.of(owner))


def _digest(whom: Owner | str) -> str:
    return owners_of(whom) if isinstance(whom, str) else owner_of(whom.app, whom.user)
