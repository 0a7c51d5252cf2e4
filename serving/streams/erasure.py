"""Erasure of a person's recordings (implements `memory.erasure.ErasureTarget`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import CacheAway
from serving.protocol.owner import owner_of, owners_of
from serving.resilience.redis import AWAY
from serving.streams.recorder import Recorder
from storage.memory.owner import Owner


class RecordingErasure:
    """Deletes from `recorder` and counts what is left; both raise CacheAway if Redis is unavailable."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def forget(self, whom: Owner | str) -> None:
        """Delete the recordings of a person, or of a whole application, at all workers, also those in progress."""
        with _redis_errors():
            await self._recorder.forget(_digest(whom))

    async def count(self, whom: Owner | str) -> int:
        """The number of recordings."""
        with _redis_errors():
            return await self._recorder.count(_digest(whom))


def _digest(whom: Owner | str) -> str:
    return owners_of(whom) if isinstance(whom, str) else owner_of(whom.app, whom.user)


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except AWAY as problem:
        raise CacheAway from problem
