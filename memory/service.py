"""Operations on a person's past: store turns, add and change memories, and recall.

Text is stored first, in a transaction of its own, so whatever was acknowledged is in SQL. Vectors are made afterwards.
If the embedder was down or the process died in between, the next write or recall makes them. This module does not know
HTTP, limits, or permissions.
"""

import asyncio
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.embedding.embedder import Embedder, EmbedderAway, as_bytes, embedded
from memory.exchange import Exchange
from memory.intents.topics import is_same_topic
from memory.language.small_talk import is_small_talk
from memory.recall.corpus import Item
from memory.recall.index_cache import IndexCache
from memory.recall.query_rewriting import rewrite
from memory.recall.ranking import Matrix, Ranked
from memory.recall.rerank import CrossEncoder, reranked
from storage.memory import conversations, export, memories
from storage.memory.conversations import Ingested, MessageRecord, NewMessage
from storage.memory.deletion import Touched
from storage.memory.listing.within import RecallFilter, items_within
from storage.memory.memories import ANYWHERE, MemoryRecord, NewMemory, Scope
from storage.memory.mutes import items as mutes
from storage.memory.mutes.topics import NewTopic, TopicRecord, list_topics
from storage.memory.owner import Owner
from storage.memory.people import Profile, read_profile
from storage.memory.reply_context import ContextItem
from storage.memory.set_aside import PutBack, put_back
from storage.memory.tables import ItemKind
from storage.memory.vectors.embeddings import find_unembedded, store_embeddings

AT_ONCE = 64  # items embedded between two writes
PINNED = 20  # the newest ones
RELEVANCE = "relevance"  # is stored with the factors of a reply's context


@dataclass(frozen=True, slots=True)
class Recalled:
    """A result of recall: the record from SQL, and its ranks and scores."""

    record: MessageRecord | MemoryRecord
    ranked: Ranked


class MemoryService:
    """The operations on one database.

    Args:
        engine: the database.
        index_cache: this process's indexes of it.
        embedder: makes vectors; None: recall uses words only.
        now: the time, aware.
        reranker: reorders the results of recall; None: no reranking.

    """

    def __init__(
        self,
        engine: AsyncEngine,
        index_cache: IndexCache,
        embedder: Embedder | None,
        now: Callable[[], datetime],
        reranker: CrossEncoder | None = None,
    ) -> None:
        self._engine = engine
        self._index_cache = index_cache
        self._embedder = embedder
        self._now = now
        self._reranker = reranker
        self._locks: weakref.WeakValueDictionary[Owner, asyncio.Lock] = weakref.WeakValueDictionary()
        self._exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()

    async def ingest(self, owner: Owner, conversation: str, messages: Sequence[NewMessage]) -> Ingested:
        """Store messages of a conversation; see `storage.memory.conversations.ingest`."""
        ingested = await conversations.ingest(self._engine, owner, conversation, messages, now=self._now())
        await self._embed(owner, since=ingested.version)
        return ingested

    def exchange(self, owner: Owner, conversation: str) -> Exchange:
        """Begin an exchange in a conversation; recall does not wait for its vectors until it is dropped."""

        async def embed(since: int, known: Mapping[str, bytes]) -> None:
            await self._embed(owner, since=since, kind="turn", known=known)

        begun = Exchange(self._engine, owner, conversation, self._now, embed)
        self._exchanges.add(begun)
        return begun

    async def add(
        self, owner: Owner, new: NewMemory, *, id_: str | None = None, supersedes: str | None = None
    ) -> tuple[MemoryRecord, bool]:
        """Add a memory; see `storage.memory.memories.add_memory`."""
        record, is_new = await memories.add_memory(
            self._engine, owner, new, now=self._now(), id_=id_, supersedes=supersedes
        )
        if is_new:
            await self._embed(owner, since=record.changed_in)
        return record, is_new

    async def edit(
        self, owner: Owner, id_: str, changes: Mapping[str, Any], *, changed_in: int | None = None
    ) -> MemoryRecord:
        """Change a memory; see `storage.memory.memories.edit_memory`."""
        record = await memories.edit_memory(self._engine, owner, id_, changes, now=self._now(), changed_in=changed_in)
        await self._embed(owner, since=record.changed_in)
        return record

    async def mute(
        self, owner: Owner, *, turns: Sequence[str], memories: Sequence[str], topic: NewTopic | None = None
    ) -> Touched:
        """Mute these turns and memories, and a topic; see `storage.memory.mutes.items.mute_items`."""
        touched, version = await mutes.mute_items(
            self._engine, owner, turns=turns, memories=memories, topic=topic, now=self._now()
        )
        if version is not None:
            await self._embed(owner, since=version)
        return touched

    async def lift(
        self, owner: Owner, about: str, *, turns: Sequence[str] = (), memories: Sequence[str] = ()
    ) -> int | None:
        """Lift the topics with the same words as `about`, and unmute; see `storage.memory.mutes.items.lift_topics`."""
        topics = [each.id for each in await self.topics(owner) if is_same_topic(each.about, about)]
        return await mutes.lift_topics(self._engine, owner, topics, turns=turns, memories=memories, now=self._now())

    async def topics(self, owner: Owner) -> list[TopicRecord]:
        """The muted topics."""
        return await list_topics(self._engine, owner)

    async def undo(self, owner: Owner, wish_id: str) -> PutBack | None:
        """Restore what an intent set aside; see `storage.memory.set_aside.put_back`."""
        back = await put_back(self._engine, owner, wish_id, now=self._now())
        if back is not None:
            await self._embed(owner, since=back.version)
        return back

    async def holding(
        self, owner: Owner, text: str, is_meant: Callable[[Item], bool], *, is_name: bool
    ) -> list[tuple[ItemKind, str]]:
        """The turns and memories with every word of `text` that `is_meant`; see `PersonIndex.holding`."""
        found = await self._index_cache.with_index(owner, lambda index: index.holding(text, is_meant, is_name=is_name))
        return found or []

    async def everything(self, owner: Owner) -> list[tuple[ItemKind, str]]:
        """All turns and memories."""
        return await self._index_cache.with_index(owner, lambda index: index.everything()) or []

    async def echoes(
        self, owner: Owner, text: str, going: Collection[tuple[ItemKind, str]], person: Collection[str]
    ) -> list[str]:
        """The turns of others that would reveal `going`; see `recall.person_index.PersonIndex.echoes`."""
        return await self._index_cache.with_index(owner, lambda index: index.echoes(text, going, person)) or []

    async def take_in(self, owner: Owner, history: export.History) -> export.Moved:
        """Import a history; see `storage.memory.export.write_history`.

        About AT_ONCE items get their vectors at once, the others from the worker or at the next recall.
        """
        moved = await export.write_history(self._engine, owner, history, now=self._now())
        await self._embed(owner, since=moved.since, max_items=AT_ONCE)
        return moved

    async def brief(self, owner: Owner, scope: Scope | None = ANYWHERE) -> tuple[Profile, list[MemoryRecord]]:
        """What every prompt contains: the profile, and the PINNED newest pinned memories that are valid now.

        Memories that belong elsewhere than in `scope` are left out; None: none is.
        """
        filters = memories.MemoryFilter(pinned=True, muted=False, holding_at=self._now())
        profile = await read_profile(self._engine, owner)
        pinned = await memories.list_memories(self._engine, owner, filters, limit=PINNED)
        here = [each for each in pinned if scope is None or scope.admits(each.persona, each.conversation)]
        return profile, await self._without_silenced(owner, here)

    async def around(self, owner: Owner, since: datetime, until: datetime, *, limit: int) -> list[MemoryRecord]:
        """Memories of events, or stored, between these times, without muted ones and muted topics."""
        memory_filter = memories.MemoryFilter(since=since, until=until, muted=False)
        found = await memories.list_memories(self._engine, owner, memory_filter, limit=limit)
        everywhere = [each for each in found if ANYWHERE.admits(each.persona, each.conversation)]
        return await self._without_silenced(owner, everywhere)

    async def recall(
        self,
        owner: Owner,
        question: str,
        *,
        limit: int,
        speaker: str | None = None,
        min_relevance: float = 0.0,
        scope: Scope = ANYWHERE,
        only: RecallFilter | None = None,
        zone: tzinfo | None = None,
        exchange: Exchange | None = None,
    ) -> list[Recalled]:
        """The best `limit` turns and memories for a question.

        Args:
            owner: whose past.
            question: as text.
            limit: how many results.
            speaker: the name of the person who asks, as a speaker of the conversations; None: the profile's name.
            min_relevance: see `memory.recall.person_index.PersonIndex.recall`; above 0, small talk recalls nothing.
            scope: where it is asked; memories that belong elsewhere are not recalled.
            only: nothing else is recalled.
            zone: where the person is, if it is not where their profile or the offset of their turns says.
            exchange: whose message is the question; it keeps the vectors. What other exchanges have not ended with is
                not waited for.

        """
        if min_relevance and is_small_talk(question):
            return []
        known = await self._index_cache.with_index(owner, lambda index: (index.people, index.name, index.lacks_vectors))
        if known is None:
            return []
        speakers, name, lacks_vectors = known
        with_index = self._index_cache.with_same_index
        if lacks_vectors and not (exchange and self._has_others(exchange)):
            await self._embed(owner, since=0, max_items=AT_ONCE)  # what a write could not wait for; the rest next time
            with_index = self._index_cache.with_index
        query = rewrite(question, speakers, speaker=speaker or name)
        vectors, now = await self._vectors(query.texts), self._now()
        if exchange is not None and vectors is not None:
            exchange.vectors |= {text: as_bytes(row) for text, row in zip(query.texts, vectors, strict=True)}
        depth = limit if self._reranker is None else max(limit, self._reranker.max_candidates)
        among = None if only is None else await items_within(self._engine, owner, only)
        found = await with_index(
            owner,
            lambda index: index.recall(
                query, vectors, now=now, limit=depth, min_relevance=min_relevance, scope=scope, only=among, zone=zone
            ),
        )
        if found and self._reranker is not None:
            found = (await reranked(self._reranker, question, found))[:limit]
        return await self._as_stored(owner, found or [])

    async def _as_stored(self, owner: Owner, found: Sequence[Ranked]) -> list[Recalled]:
        """With their records; items that have just been deleted are left out."""
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

    async def _without_silenced(self, owner: Owner, found: list[MemoryRecord]) -> list[MemoryRecord]:
        """The memories that are about no muted topic."""
        ids = [each.id for each in found]
        if not ids:
            return found
        silenced = await self._index_cache.with_index(owner, lambda index: index.silenced_memories(ids)) or set()
        return [each for each in found if each.id not in silenced]

    async def _vectors(self, texts: Sequence[str]) -> Matrix | None:
        if self._embedder is None:
            return None
        try:
            return await self._embedder.embed(texts)
        except EmbedderAway:
            return None

    def _has_others(self, exchange: Exchange) -> bool:
        """Whether another exchange of the person is open, which will make the vectors of what it stores."""
        others = (each for each in self._exchanges if each is not exchange and each.owner == exchange.owner)
        return any(each.is_open for each in others)

    async def _embed(
        self,
        owner: Owner,
        *,
        since: int,
        max_items: int | None = None,
        kind: ItemKind | None = None,
        known: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Make missing vectors for about `max_items` items that changed since version `since`, if the embedder is up.

        Only one run at a time for a person: the next one finds what this one made. `kind`: of these items only.
        `known`: vectors of texts that were embedded already.
        """
        if self._embedder is None:
            return
        space, done = self._embedder.space, 0
        async with self._locks.setdefault(owner, asyncio.Lock()):
            while max_items is None or done < max_items:
                found = await find_unembedded(self._engine, owner, space, limit=AT_ONCE, since=since, kind=kind)
                try:
                    made = await embedded(self._embedder, found, known) if found else []
                except EmbedderAway:
                    return
                if made:
                    await store_embeddings(self._engine, owner, space, made, now=self._now())
                if len(found) < AT_ONCE:
                    return
                done += len(found)


def context_item(rank: int, recalled: Recalled) -> ContextItem:
    """What to store about an item in a reply's context, at this rank."""
    ranked = recalled.ranked
    ranks = {name: list(each) for name, each in ranked.by_ranker.items()}
    factors = dict(ranked.factors) if ranked.relevance is None else {**ranked.factors, RELEVANCE: ranked.relevance}
    return ContextItem(ranked.item.kind, ranked.item.id, rank, ranked.score, ranks, factors)
