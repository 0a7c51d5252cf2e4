"""What is painful comes back less and less, what is muted not at all, until the mark is taken away."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.index_cache import IndexCache
from memory.service import MemoryService, Recalled
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryFilter, NewMemory, list_memories
from storage.memory.owner import Owner
from tests.support.memory.word_embedder import WordEmbedder

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(engine: AsyncEngine, index_cache: IndexCache, embedder: WordEmbedder) -> MemoryService:
    """Return a store at an instant."""
    return MemoryService(engine, index_cache, embedder, lambda: NOW)


@pytest.fixture
async def source(store: MemoryService) -> str:
    """Give Ann and Ben the same two turns and a memory that quotes the first; return the id of Ann's first turn."""
    texts = ["My marriage to Sam is over", "I bought a marriage licence for Sam"]
    turns = [NewMessage(str(each), "Ann", text, DAY + timedelta(minutes=each)) for each, text in enumerate(texts)]
    for owner in (BEN, ANN):
        ids = (await store.ingest(owner, "c", turns)).ids
        quoted = NewMemory("Sam left the marriage", quote="is over", message_id=ids["0"])
        await store.add(owner, quoted, id_="left")
    return ids["0"]


async def recalled(store: MemoryService, owner: Owner = ANN) -> dict[str, Recalled]:
    """Return what a question about Sam brings, by its words, best first."""
    return {each.record.text: each for each in await store.recall(owner, "marriage of Sam", limit=9)}


@pytest.mark.parametrize(("days", "left"), [(0, 1.0), (30, 0.5), (60, 0.25), (90, 0.125), (3000, 0.125), (-5, 1.0)])
async def test_pain_fades(store: MemoryService, source: str, days: int, left: float) -> None:
    """Halved every 30 days since the mark, an eighth at last: the memory, and the turn that it quotes, and no other."""
    before = await recalled(store)
    others = await recalled(store, BEN)
    await store.edit(ANN, "left", {"painful_at": NOW - timedelta(days=days)})
    after = await recalled(store)
    for text, found in after.items():
        factor = 1.0 if "licence" in text else left
        assert found.ranked.factors["painful"] == pytest.approx(factor)
        assert found.ranked.score == pytest.approx(before[text].ranked.score * factor)
    assert [each.ranked for each in (await recalled(store, BEN)).values()] == [each.ranked for each in others.values()]


async def test_what_is_muted_is_not_brought_up(
    store: MemoryService,
    source: str,
    engine: AsyncEngine,
    embedder: WordEmbedder,
    make_index_cache: Callable[..., IndexCache],
) -> None:
    """Neither the memory nor the turn that it quotes, at any worker, in old and new indexes; it is still listed."""
    other = MemoryService(engine, make_index_cache(), embedder, lambda: NOW)
    assert len(await recalled(store)) == len(await recalled(other)) == 3
    await store.edit(ANN, "left", {"muted": True})
    for each in (store, other, MemoryService(engine, make_index_cache(), embedder, lambda: NOW)):
        assert list(await recalled(each)) == ["I bought a marriage licence for Sam"]
    (one,) = await list_memories(engine, ANN, MemoryFilter(muted=True), limit=9)
    assert (one.id, one.muted) == ("left", True)
    assert len(await recalled(store, BEN)) == 3
    await store.edit(ANN, "left", {"muted": False})
    assert len(await recalled(store)) == len(await recalled(other)) == 3


async def test_a_neighbour_of_what_is_muted_is_found_by_its_words(store: MemoryService, source: str) -> None:
    """Through the window that has them; the words themselves are not shown."""
    await store.ingest(ANN, "c", [NewMessage("2", "Ann", "It was a Tuesday", DAY + timedelta(minutes=1))])
    await store.edit(ANN, "left", {"muted": True})
    found = await store.recall(ANN, "Is my marriage to Sam over?", limit=9)
    assert {each.record.text for each in found} == {"I bought a marriage licence for Sam", "It was a Tuesday"}
    assert "window" in next(each.ranked.by_ranker for each in found if "Tuesday" in each.record.text)


async def test_a_turn_is_muted_while_one_of_its_memories_is(store: MemoryService, source: str) -> None:
    """Added muted, it mutes the turn that it quotes; the turn comes back when it quotes another, or is gone."""
    await store.add(ANN, NewMemory("Not this", message_id=source, muted=True), id_="second")
    assert set(await recalled(store)) == {"Sam left the marriage", "I bought a marriage licence for Sam"}
    await store.edit(ANN, "second", {"message_id": None})
    assert len(await recalled(store)) == 3


async def test_limits_are_met_in_spite_of_what_is_muted(store: MemoryService) -> None:
    """As many as were asked for are found, when there are as many that are not muted."""
    for number in range(20):
        await store.add(ANN, NewMemory(f"Sam's marriage {number}", muted=number < 10))
    assert len(await store.recall(ANN, "Sam's marriage", limit=10)) == 10
