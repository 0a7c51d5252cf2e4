"""Makes missing vectors in the background: first the current embedder's, then all of the next embedder's.

SQL finds what is missing, and each batch is a transaction of its own. So a run may end or be killed anywhere, and the
next one continues; items written meanwhile are missing, too, and are found the same way. Vectors of other spaces are
deleted only when the current space is complete for everybody, so until then nothing is lost by going back. This module
does not know where embedders come from, or when it runs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.embedding.embedder import Embedder, EmbedderAway, embedded
from storage.memory.owner import Owner
from storage.memory.people import read_version
from storage.memory.vectors.embeddings import Space, find_unembedded, store_embeddings
from storage.memory.vectors.spaces import Mark, clear_others, find_others, read_marks

PORTION = 32  # items: up to twice as many texts, in one request
PEOPLE_AT_ONCE = 500
DELETED_AT_ONCE = 200  # rows


@dataclass
class Known:
    """What a process has seen in earlier runs, to avoid looking again; it may be lost at any time.

    `complete`: who had all vectors of a space, at which mark. `cleared`: the spaces that had no other spaces left.
    """

    complete: dict[Space, dict[Owner, Mark]] = field(default_factory=dict)
    cleared: tuple[Space, ...] = ()


@dataclass
class Report:
    """The result of a run: items embedded, by space; vectors deleted; whether nothing is left to do."""

    made: dict[Space, int] = field(default_factory=dict)
    deleted: int = 0
    is_complete: bool = False


class Backfill:
    """One run.

    Args:
        engine: the database.
        known: from earlier runs in this process.
        now: the time, aware.
        clock: monotonic seconds.
        ends_s: no batch starts after this time of the clock.
        sleep: called after each batch for as long as it took, so that the run uses at most half of the machine.
        portion: items embedded and written at once.

    """

    def __init__(
        self,
        engine: AsyncEngine,
        known: Known,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        ends_s: float,
        sleep: Callable[[float], Awaitable[None]],
        portion: int = PORTION,
    ) -> None:
        self._engine = engine
        self._known = known
        self._now = now
        self._clock = clock
        self._ends_s = ends_s
        self._sleep = sleep
        self._portion = portion
        self._report = Report()

    async def run(self, present: Embedder, following: Embedder | None) -> Report:
        """Run until done or out of time; `following` is the next embedder, if one is configured."""
        embedders = [present] if following is None else [present, following]
        filled = [await self._fill(each) for each in embedders]
        in_use = tuple(each.space for each in embedders)
        for old in self._known.complete.keys() - set(in_use):
            del self._known.complete[old]
        if filled[0] and self._known.cleared != in_use and await self._clear(in_use):
            self._known.cleared = in_use
        cleared = self._known.cleared == in_use
        self._report.is_complete = all(filled) and cleared
        return self._report

    async def _fill(self, embedder: Embedder) -> bool:
        """Make missing vectors; returns whether all are complete."""
        before, after = self._known.complete.get(embedder.space, {}), {}
        self._known.complete[embedder.space] = before
        async for owner, mark in self._people():
            if before.get(owner) != mark and not await self._fill_for(embedder, owner, before):
                return False
            after[owner] = before.get(owner, mark)
        self._known.complete[embedder.space] = after  # without those who are gone
        return True

    async def _fill_for(self, embedder: Embedder, owner: Owner, complete: dict[Owner, Mark]) -> bool:
        while self._has_time():
            version = await read_version(self._engine, owner)  # before the items: a later change shows in the mark
            if version is None:
                return True
            found = await find_unembedded(self._engine, owner, embedder.space, limit=self._portion)
            if not found:
                complete[owner] = (version.era, version.version)
                return True
            began_s = self._clock()
            try:
                made = await embedded(embedder, found)
            except EmbedderAway:
                return False
            await store_embeddings(self._engine, owner, embedder.space, made, now=self._now())
            self._report.made[embedder.space] = self._report.made.get(embedder.space, 0) + len(made)
            await self._sleep(self._clock() - began_s)
        return False

    async def _clear(self, in_use: tuple[Space, ...]) -> bool:
        """Delete the vectors of other spaces; returns whether none are left."""
        last = None
        while owners := await find_others(self._engine, in_use, after=last, limit=PEOPLE_AT_ONCE):
            for last in owners:
                deleted = DELETED_AT_ONCE
                while deleted == DELETED_AT_ONCE:
                    if not self._has_time():
                        return False
                    deleted = await clear_others(self._engine, last, in_use, now=self._now(), limit=DELETED_AT_ONCE)
                    self._report.deleted += deleted
        return not await find_others(self._engine, in_use, after=None, limit=1)

    async def _people(self) -> AsyncIterator[tuple[Owner, Mark]]:
        last = None
        while marks := await read_marks(self._engine, after=last, limit=PEOPLE_AT_ONCE):
            for owner, mark in marks:
                yield owner, mark
            last = marks[-1][0]

    def _has_time(self) -> bool:
        return self._clock() < self._ends_s
