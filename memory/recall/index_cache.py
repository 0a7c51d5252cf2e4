"""The views of the people who were asked about last: a cache in front of SQL, bounded in bytes.

Each use first asks SQL how far the person's data has come (one row by its key), and reads what changed since. So every
gateway worker sees every write at its next read, from any process, and there is nothing to invalidate. No snapshot is
kept on disk: of the half second of CPU time that 5,000 items take, FAISS has 30 ms (docs/memory.md).

Views are made, changed and searched by one thread, which takes a few milliseconds' work at a time.
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
    """One worker's views.

    Args:
        engine: the database.
        space: whose vectors the views hold.
        dimensions: of those.
        max_bytes: of all views together; beyond, those that were not used for longest go. The one in use stays.

    """

    def __init__(self, engine: AsyncEngine, space: Space, *, dimensions: int, max_bytes: int) -> None:
        self._engine = engine
        self._space = space
        self._dimensions = dimensions
        self._max_bytes = max_bytes
        self._views: OrderedDict[Owner, PersonIndex] = OrderedDict()
        self._sizes_bytes: dict[Owner, int] = {}
        self._locks: weakref.WeakValueDictionary[Owner, asyncio.Lock] = weakref.WeakValueDictionary()
        self._thread = ThreadPoolExecutor(1, "memory-views", initializer=use_one_thread)

    @property
    def size_bytes(self) -> int:
        """About what all views hold in memory."""
        return sum(self._sizes_bytes.values())

    def count(self, whom: Owner | str) -> int:
        """How many views there are of a person, or of the people of an application."""
        return len(self._of(whom))

    async def with_view(self, owner: Owner, work: Callable[[PersonIndex], Answer]) -> Answer | None:
        """Do `work` with the person's view, as SQL has it now; None when there is nothing of theirs.

        `work` is called in the thread of the views, and must keep nothing of the view.
        """
        view = await self._current(owner)
        return None if view is None else await self._in_thread(lambda: work(view))

    async def with_same_view(self, owner: Owner, work: Callable[[PersonIndex], Answer]) -> Answer | None:
        """Do as `with_view` does, without asking SQL again, if the view of a moment ago is still there."""
        view = self._views.get(owner)
        return await self.with_view(owner, work) if view is None else await self._in_thread(lambda: work(view))

    def drop(self, whom: Owner | str) -> None:
        """Forget the view of a person, or those of an application's people."""
        for owner in self._of(whom):
            del self._views[owner]
            self._sizes_bytes.pop(owner, None)

    async def run(self) -> None:
        """Drop the views of people who have been erased, until cancelled: nobody may ask about them again."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except AWAY as problem:
                log.debug("views are not swept, the database is away: %r", problem)

    async def sweep(self) -> None:
        """Drop the views of people of whom nothing is left in SQL; raises what SQL raises."""
        held = list(self._views.items())
        for first in range(0, len(held), AT_ONCE):
            some = held[first : first + AT_ONCE]
            eras = await read_eras(self._engine, [owner for owner, _ in some])
            for owner, view in some:
                if eras.get(owner) != view.era and self._views.get(owner) is view:
                    self.drop(owner)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _of(self, whom: Owner | str) -> list[Owner]:
        return [each for each in self._views if whom in (each, each.app)]

    async def _current(self, owner: Owner) -> PersonIndex | None:
        async with self._locks.setdefault(owner, asyncio.Lock()):
            version = await read_version(self._engine, owner)
            if version is None:
                self.drop(owner)
                return None
            view = self._views.get(owner)
            if view is None or not view.can_reach(version):
                self.drop(owner)
                view = PersonIndex(version.era, self._dimensions)
            if view.version < version.version:
                await self._bring_up(owner, view, version)
            self._views[owner] = view
            self._views.move_to_end(owner)
            self._evict()
            return view

    async def _bring_up(self, owner: Owner, view: PersonIndex, version: Version) -> None:
        """Read what changed. Cut off, it is read again: a view's version moves last."""
        async with aclosing(changes(self._engine, owner, self._space, since=view.version)) as portions:
            async for rows in portions:
                await self._in_thread(view.apply, rows)
        await self._in_thread(view.mute, await list_topics(self._engine, owner))
        view.version, view.name = version.version, version.name
        self._sizes_bytes[owner] = await self._in_thread(lambda: view.size_bytes)

    def _evict(self) -> None:
        while self.size_bytes > self._max_bytes and len(self._views) > 1:
            self.drop(next(iter(self._views)))

    async def _in_thread(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
