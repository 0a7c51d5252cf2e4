"""The person indexes used last: a cache in front of SQL, bounded in bytes.

Each use first reads the person's version from SQL (one row by its key), and then the changes since. So every gateway
worker sees every write at its next read, from any process, and there is nothing to invalidate. There are no snapshots
on disk: building an index of 5,000 items takes half a second of CPU time, of which FAISS has 30 ms (docs/memory.md).

One thread builds, changes and searches all indexes, in steps of a few milliseconds.
"""

import asyncio
import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.person_index import PersonIndex
from memory.recall.vector_index import use_one_thread
from storage.database import AWAY
from storage.memory.change_feed import changes
from storage.memory.mutes.topics import list_topics
from storage.memory.owner import Owner
from storage.memory.people import Version, read_eras, read_version
from storage.memory.vectors.embeddings import Space

log = logging.getLogger(__name__)

SWEEP_S = 5.0
AT_ONCE = 200  # people in one question to SQL
Answer = TypeVar("Answer")


class IndexCache:
    """One worker's indexes.

    Args:
        engine: the database.
        space: the embedding space of their vectors.
        dimensions: of a vector.
        max_bytes: of all indexes together; above, the least recently used are dropped. The one in use stays.

    """

    def __init__(self, engine: AsyncEngine, space: Space, *, dimensions: int, max_bytes: int) -> None:
        self._engine = engine
        self._space = space
        self._dimensions = dimensions
        self._max_bytes = max_bytes
        self._indexes: OrderedDict[Owner, PersonIndex] = OrderedDict()
        self._sizes_bytes: dict[Owner, int] = {}
        self._locks: weakref.WeakValueDictionary[Owner, asyncio.Lock] = weakref.WeakValueDictionary()
        self._thread = ThreadPoolExecutor(1, "memory-indexes", initializer=use_one_thread)

    @property
    def size_bytes(self) -> int:
        """The approximate size of all indexes in memory, bytes."""
        return sum(self._sizes_bytes.values())

    def count(self, whom: Owner | str) -> int:
        """The number of indexes of a person, or of the people of an application."""
        return len(self._of(whom))

    async def with_index(self, owner: Owner, work: Callable[[PersonIndex], Answer]) -> Answer | None:
        """Call `work` with the person's index in its current state; None if SQL has no data of theirs.

        `work` is called in the thread of the indexes, and must not keep a reference to the index.
        """
        index = await self._current(owner)
        return None if index is None else await self._in_thread(lambda: work(index))

    async def with_same_index(self, owner: Owner, work: Callable[[PersonIndex], Answer]) -> Answer | None:
        """As `with_index`, but without asking SQL again if the index is still cached."""
        index = self._indexes.get(owner)
        return await self.with_index(owner, work) if index is None else await self._in_thread(lambda: work(index))

    def drop(self, whom: Owner | str) -> None:
        """Drop the index of a person, or those of an application's people."""
        for owner in self._of(whom):
            del self._indexes[owner]
            self._sizes_bytes.pop(owner, None)

    async def run(self) -> None:
        """Drop the indexes of erased people until cancelled, because there may be no later request about them."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except AWAY as problem:
                log.debug("indexes are not swept, the database is unavailable: %r", problem)

    async def sweep(self) -> None:
        """Drop the indexes of people who have no data in SQL; raises what SQL raises."""
        held = list(self._indexes.items())
        for first in range(0, len(held), AT_ONCE):
            some = held[first : first + AT_ONCE]
            eras = await read_eras(self._engine, [owner for owner, _ in some])
            for owner, index in some:
                if eras.get(owner) != index.era and self._indexes.get(owner) is index:
                    self.drop(owner)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _of(self, whom: Owner | str) -> list[Owner]:
        return [each for each in self._indexes if whom in (each, each.app)]

    async def _current(self, owner: Owner) -> PersonIndex | None:
        async with self._locks.setdefault(owner, asyncio.Lock()):
            version = await read_version(self._engine, owner)
            if version is None:
                self.drop(owner)
                return None
            index = self._indexes.get(owner)
            if index is None or not index.can_reach(version):
                self.drop(owner)
                index = PersonIndex(version.era, self._dimensions, self._space.model)
            if index.version < version.version:
                await self._bring_up(owner, index, version)
            self._indexes[owner] = index
            self._indexes.move_to_end(owner)
            self._evict()
            return index

    async def _bring_up(self, owner: Owner, index: PersonIndex, version: Version) -> None:
        """Read the changes. If interrupted, they are read again, because the version is set last."""
        async with aclosing(changes(self._engine, owner, self._space, since=index.version)) as portions:
            async for rows in portions:
                await self._in_thread(index.apply, rows)
        await self._in_thread(index.mute, await list_topics(self._engine, owner))
        index.version, index.name, index.zone = version.version, version.name, version.zone
        self._sizes_bytes[owner] = await self._in_thread(lambda: index.size_bytes)

    def _evict(self) -> None:
        while self.size_bytes > self._max_bytes and len(self._indexes) > 1:
            self.drop(next(iter(self._indexes)))

    async def _in_thread(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
