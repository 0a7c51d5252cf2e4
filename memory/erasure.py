"""Deletes items and people, and writes a receipt: afterwards, every place that held something is checked again.

This module knows SQL and this process's indexes; other places (response caches) are passed in. The indexes of other
gateway workers return nothing that was deleted, because they ask SQL first; they are dropped within
`memory.recall.index_cache.SWEEP_S`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.index_cache import IndexCache
from storage.erasure.log import ErasureLog
from storage.memory import deletion, erasure, memories, set_aside
from storage.memory.deletion import Touched
from storage.memory.owner import Owner
from storage.memory.set_aside import Aside
from storage.memory.tables import ItemKind


class ErasureTarget(Protocol):
    """Another place that may hold data derived from a person's past; `whom` is a person, or an application's name."""

    async def forget(self, whom: Owner | str) -> None:
        """Delete it."""
        ...

    async def count(self, whom: Owner | str) -> int:
        """The number of entries."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of the check: how much each place still has.

    `kept`: what must not be deleted, or not yet; `reached`: the number of turns and memories before the deletion.
    SQLite's write-ahead log counts as a place: deleted data stays in it as long as a reader needs it.
    """

    erased_at: datetime
    remaining: Mapping[str, int]
    kept: Mapping[str, int]
    reached: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether nothing remains."""
        return not any(self.remaining.values())


class Forgetter:
    """Deletes from one database.

    Args:
        engine: the database.
        index_cache: this process's indexes of it.
        targets: other places, by name.
        now: the time, aware.
        log: records every erasure, so that it can be repeated in a restored backup.

    """

    def __init__(
        self,
        engine: AsyncEngine,
        index_cache: IndexCache,
        targets: Mapping[str, ErasureTarget],
        now: Callable[[], datetime],
        log: ErasureLog | None = None,
    ) -> None:
        self._engine = engine
        self._index_cache = index_cache
        self._targets = targets
        self._now = now
        self._log = log

    async def memory(self, owner: Owner, id_: str) -> Receipt:
        """Delete one memory; raises NoSuchMemory."""
        try:
            await memories.delete_memory(self._engine, owner, id_, now=self._now(), log=self._log)
        except memories.NoSuchMemory:
            await self.finish(owner)
            raise
        remaining = await memories.count_memory(self._engine, owner, id_)
        in_index = await self._index_cache.with_index(owner, lambda index: ("memory", id_) in index)
        return await self._elsewhere(owner, remaining | {"indexes": int(in_index or False)}, {}, {"memories": 1})

    async def message(self, owner: Owner, id_: str) -> Receipt | None:
        """Delete one turn, set aside or not, and the memories that quote it; None if there is no such turn."""
        deleted, receipt = await self.items(owner, turns=[id_])
        return receipt if deleted.turns or deleted.wiped else None

    async def items(
        self,
        owner: Owner,
        *,
        turns: Sequence[str] = (),
        memories: Sequence[str] = (),
        aside: Aside | None = None,
    ) -> tuple[Touched, Receipt]:
        """Delete turns with the memories that quote them, and memories; missing ones are ignored.

        With `aside` everything can be restored. The receipt counts what is left of the named items, and of those that
        were deleted with them.
        """
        deleted = await deletion.delete_items(
            self._engine, owner, turns=turns, memories=memories, now=self._now(), aside=aside, log=self._log
        )
        named = list({*memories, *deleted.memories})
        remaining = await deletion.count_items(self._engine, owner, turns=turns, memories=named)
        kept = {} if aside is None else {"set_aside": remaining.pop("set_aside")}
        return deleted, await self._seen_off(owner, deleted, remaining, kept, turns=turns, memories=named)

    async def conversation(self, owner: Owner, external_id: str) -> Receipt | None:
        """Delete a conversation and the memories that quote it; None if there is no such conversation."""
        deleted = await deletion.delete_conversation(self._engine, owner, external_id, now=self._now(), log=self._log)
        if deleted is None:
            await self.finish(owner)
            return None
        remaining = await deletion.count_conversation(self._engine, owner, external_id, deleted)
        return await self._seen_off(owner, deleted, remaining, {})

    async def finish(self, whom: Owner | str) -> None:
        """Delete from the other places alone: an earlier deletion may have ended after SQL, because one was away."""
        for target in self._targets.values():
            await target.forget(whom)

    async def wish(self, owner: Owner, wish_id: str) -> bool:
        """Permanently delete what a wish set aside; returns whether there was anything."""
        is_gone = await set_aside.wipe_wish(self._engine, owner, wish_id, self._log)
        await erasure.scrub(self._engine)
        return is_gone

    async def everything(self, whom: Owner | str) -> Receipt:
        """Delete a person, or all people of an application."""
        before = await erasure.count(self._engine, whom)
        await erasure.erase(self._engine, whom, self._log)
        self._index_cache.drop(whom)
        counts = await erasure.count(self._engine, whom)
        remaining = {table: count for table, count in counts.items() if table not in erasure.KEPT}
        kept = {table: count for table, count in counts.items() if table in erasure.KEPT}
        reached = {table: count for table, count in before.items() if table not in erasure.KEPT and count}
        return await self._elsewhere(whom, remaining | {"indexes": self._index_cache.count(whom)}, kept, reached)

    async def _seen_off(
        self,
        owner: Owner,
        deleted: Touched,
        remaining: dict[str, int],
        kept: dict[str, int],
        *,
        turns: Sequence[str] = (),
        memories: Sequence[str] = (),
    ) -> Receipt:
        """The receipt of deleted turns and memories, after a look for them, and for those named, in the index."""
        gone: list[tuple[ItemKind, str]] = [("turn", id_) for id_ in {*turns, *deleted.turns}]
        gone += [("memory", id_) for id_ in {*memories, *deleted.memories}]
        in_index = await self._index_cache.with_index(owner, lambda index: sum(item in index for item in gone))
        reached = {"messages": len(deleted.turns), "memories": len(deleted.memories), "set_aside": deleted.wiped}
        return await self._elsewhere(owner, remaining | {"indexes": in_index or 0}, kept, reached)

    async def _elsewhere(
        self,
        whom: Owner | str,
        remaining: dict[str, int],
        kept: dict[str, int],
        reached: Mapping[str, int] | None = None,
    ) -> Receipt:
        await self.finish(whom)
        for name, target in self._targets.items():
            remaining[name] = await target.count(whom)
        remaining["write_ahead_log"] = await erasure.scrub(self._engine)
        return Receipt(self._now(), remaining, kept, reached or {})
