"""The recordings of answers as one of the places that forget a person (`memory.erasure.ErasureTarget`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import CacheAway
from serving.protocol.owner import owner_of, owners_of
from serving.resilience.redis import AWAY
from serving.streams.recorder import Recorder
from storage.memory.owner import Owner


class RecordingErasure:
    """Forgets in `recorder`, and counts what is left. Both raise CacheAway when Redis does not answer."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def forget(self, whom: Owner | str) -> None:
        """Have no worker keep a person's recordings, or all of an application's; what is being answered included."""
        with _told():
            await self._recorder.forget(_digest(whom))

    async def count(self, whom: Owner | str) -> int:
        """How many there are."""
        with _told():
            return await self._recorder.count(_digest(whom))


def _digest(whom: Owner | str) -> str:
    return owners_of(whom) if isinstance(whom, str) else owner_of(whom.app, whom.user)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except AWAY as problem:
        raise CacheAway from problem
