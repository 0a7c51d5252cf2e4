"""What can be done with a person's past: take in, remember, change, and recall.

Words are stored first, in a transaction of their own; what has been acknowledged is in SQL. Vectors are made of them
afterwards, and made up for at the next write or recall should the embedder have been away or the process have died in
between. It does not know HTTP, limits, or who may ask.
"""

import asyncio
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.embedder import Embedder, EmbedderAway, embedded
from memory.recall import Matrix, Ranked
from memory.rerank import CrossEncoder, reranked
from memory.shelf import Shelf
from memory.voice import put
from storage import conversations, marking, memories, transfer
from storage.conversations import Ingested, MessageRecord, NewMessage
from storage.embeddings import find_unembedded, store_embeddings
from storage.forgetting import Touched
from storage.given import Given, store_reply
from storage.memories import MemoryRecord, NewMemory
from storage.memory_schema import ItemKind
from storage.owner import Owner
from storage.people import Profile, read_profile
from storage.set_aside import PutBack, put_back

AT_ONCE = 64  # items embedded between two writes
PINNED = 20  # the newest ones


@dataclass(frozen=True, slots=True)
class Recalled:
    """An item that was found, as SQL has it, and what the rankers said of it."""

    record: MessageRecord | MemoryRecord
    ranked: Ranked


class Store:
    """The use cases, on one database.

    Args:
        engine: the database.
        shelf: this process's views of it.
        embedder: makes vectors; None: recall goes by words alone.
        now: the time, aware.
        reranker: takes a second look at what recall found; None: its own order stands.

    """

    def __init__(
        self,
        engine: AsyncEngine,
        shelf: Shelf,
        embedder: Embedder | None,
        now: Callable[[], datetime],
        reranker: CrossEncoder | None = None,
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._embedder = embedder
        self._now = now
        self._reranker = reranker
        self._locks: weakref.WeakValueDictionary[Owner, asyncio.Lock] = weakref.WeakValueDictionary()

    async def ingest(self, owner: Owner, conversation: str, messages: Sequence[NewMessage]) -> Ingested:
        """Take in messages of a conversation; see `storage.conversations.ingest`."""
        taken = await conversations.ingest(self._engine, owner, conversation, messages, now=self._now())
        await self._embed(owner, since=taken.version)
        return taken

    async def answered(
        self, owner: Owner, conversation: str, reply: NewMessage, given: Sequence[Given], *, answers: str
    ) -> None:
        """Take in a reply and what it was given; see `storage.given.store_reply`."""
        since = await store_reply(self._engine, owner, conversation, reply, given, answers=answers, now=self._now())
        if since is not None:
            await self._embed(owner, since=since)

    async def add(
        self, owner: Owner, new: NewMemory, *, id_: str | None = None, supersedes: str | None = None
    ) -> tuple[MemoryRecord, bool]:
        """Remember; see `storage.memories.add_memory`."""
        record, is_new = await memories.add_memory(
            self._engine, owner, new, now=self._now(), id_=id_, supersedes=supersedes
        )
        if is_new:
            await self._embed(owner, since=record.changed_in)
        return record, is_new

    async def edit(
        self, owner: Owner, id_: str, changes: Mapping[str, Any], *, changed_in: int | None = None
    ) -> MemoryRecord:
        """Change a memory; see `storage.memories.edit_memory`."""
        record = await memories.edit_memory(self._engine, owner, id_, changes, now=self._now(), changed_in=changed_in)
        await self._embed(owner, since=record.changed_in)
        return record

    async def mute(self, owner: Owner, *, turns: Sequence[str], memories: Sequence[str]) -> Touched:
        """Do not bring up these turns and memories; see `storage.marking.mute_items`."""
        touched, version = await marking.mute_items(
            self._engine, owner, turns=turns, memories=memories, now=self._now()
        )
        if version is not None:
            await self._embed(owner, since=version)
        return touched

    async def undo(self, owner: Owner, wish_id: str) -> PutBack | None:
        """Put back what a wish set aside; see `storage.set_aside.put_back`."""
        back = await put_back(self._engine, owner, wish_id, now=self._now())
        if back is not None:
            await self._embed(owner, since=back.version)
        return back

    async def holding(self, owner: Owner, text: str) -> list[tuple[ItemKind, str]]:
        """The turns and memories that have every word of `text`, words of grammar aside; newest first."""
        return await self._shelf.with_view(owner, lambda view: view.holding(text)) or []

    async def echoes(
        self, owner: Owner, text: str, going: Collection[tuple[ItemKind, str]], person: Collection[str]
    ) -> list[str]:
        """The turns of others that would still tell of what is going; see `memory.view.View.echoes`."""
        return await self._shelf.with_view(owner, lambda view: view.echoes(text, going, person)) or []

    async def take_in(self, owner: Owner, history: transfer.History) -> None:
        """Add a history from elsewhere; see `storage.transfer.write_history`."""
        version = await transfer.write_history(self._engine, owner, history, now=self._now())
        await self._embed(owner, since=version)

    async def brief(self, owner: Owner) -> tuple[Profile, list[MemoryRecord]]:
        """What is told of a person whatever they ask: their profile, and PINNED pinned memories that hold now."""
        wanted = memories.Wanted(pinned=True, muted=False, holding_at=self._now())
        profile = await read_profile(self._engine, owner)
        return profile, await memories.list_memories(self._engine, owner, wanted, limit=PINNED)

    async def recall(self, owner: Owner, question: str, *, limit: int, asker: str | None = None) -> list[Recalled]:
        """The best `limit` turns and memories for a question.

        Args:
            owner: whose.
            question: in words.
            limit: how many.
            asker: who asks, as a speaker of the conversations; else the profile's name.

        """
        known = await self._shelf.with_view(owner, lambda view: (view.people, view.name, view.lacks_vectors))
        if known is None:
            return []
        speakers, name, lacks_vectors = known
        with_view = self._shelf.with_same_view
        if lacks_vectors:
            await self._embed(owner, since=0, most=AT_ONCE)  # what a write could not wait for; the rest next time
            with_view = self._shelf.with_view
        asked = put(question, speakers, asker=asker or name)
        vectors, now = await self._vectors(asked.texts), self._now()
        most = limit if self._reranker is None else max(limit, self._reranker.most)
        found = await with_view(owner, lambda view: view.recall(asked, vectors, now=now, limit=most))
        if found and self._reranker is not None:
            found = await reranked(self._reranker, question, found)
        return await self._as_stored(owner, (found or [])[:limit])

    async def _as_stored(self, owner: Owner, found: Sequence[Ranked]) -> list[Recalled]:
        """With their records; what was deleted in this moment is left out."""
        of_kind = {kind: [each.item.id for each in found if each.item.kind == kind] for kind in ("turn", "memory")}
        records: dict[tuple[str, str], MessageRecord | MemoryRecord] = {}
        if of_kind["turn"]:
            turns = await conversations.find_messages(self._engine, owner, of_kind["turn"])
            records |= {("turn", id_): record for id_, record in turns.items()}
        if of_kind["memory"]:
            remembered = await memories.find_memories(self._engine, owner, of_kind["memory"])
            records |= {("memory", id_): record for id_, record in remembered.items()}
        keys = [(each.item.kind, each.item.id) for each in found]
        return [Recalled(records[key], each) for key, each in zip(keys, found, strict=True) if key in records]

    async def _vectors(self, texts: Sequence[str]) -> Matrix | None:
        if self._embedder is None:
            return None
        try:
            return await self._embedder.embed(texts)
        except EmbedderAway:
            return None

    async def _embed(self, owner: Owner, *, since: int, most: int | None = None) -> None:
        """Make vectors for about `most` items that changed in `since` or later and lack them, if the embedder is there.

        One at a time for a person: the next finds what this one made.
        """
        if self._embedder is None:
            return
        space, done = self._embedder.space, 0
        async with self._locks.setdefault(owner, asyncio.Lock()):
            while most is None or done < most:
                found = await find_unembedded(self._engine, owner, space, limit=AT_ONCE, since=since)
                try:
                    made = await embedded(self._embedder, found) if found else []
                except EmbedderAway:
                    return
                if made:
                    await store_embeddings(self._engine, owner, space, made, now=self._now())
                if len(found) < AT_ONCE:
                    return
                done += len(found)


def given_of(rank: int, recalled: Recalled) -> Given:
    """What is noted of an item that a reply is given, at this place."""
    ranked = recalled.ranked
    said = {name: list(each) for name, each in ranked.said.items()}
    return Given(ranked.item.kind, ranked.item.id, rank, ranked.score, said, dict(ranked.factors))
