"""Recall with a cross-encoder: it sees more than is asked for, and recall does without it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.index_cache import IndexCache
from memory.recall.rerank import RerankerAway
from memory.service import MemoryService
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from tests.support.memory.word_embedder import WordEmbedder

ANN, DAY = Owner("app", "ann"), datetime(2026, 1, 1, tzinfo=UTC)


class Decided:
    """A cross-encoder that prefers one text."""

    max_candidates = 5

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.prefers = ""
        self.is_away = False

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Score it above all else."""
        if self.is_away:
            raise RerankerAway
        self.seen = list(texts)
        return [float(text == self.prefers) for text in texts]


async def test_what_the_cross_encoder_prefers_comes_up(
    engine: AsyncEngine, index_cache: IndexCache, embedder: WordEmbedder, clock: Callable[[], datetime]
) -> None:
    """It is given its fill of candidates, however few are asked for; those asked for are what is returned."""
    encoder = Decided()
    plain, store = (
        MemoryService(engine, index_cache, embedder, clock),
        MemoryService(engine, index_cache, embedder, clock, encoder),
    )
    for text in ("dog dog dog", "my dog sleeps", "dog Rex", "a dog", "dog food", "dog toys", "dog walks"):
        await store.add(ANN, NewMemory(text))
    before = [each.record.text for each in await plain.recall(ANN, "dog", limit=5)]
    encoder.prefers = before[2]
    (first,) = await store.recall(ANN, "dog", limit=1)
    assert encoder.seen == before
    found = await store.recall(ANN, "dog", limit=7)
    assert len(found) == 7
    assert found[0].record.id == first.record.id
    assert [("cross_encoder" in each.ranked.by_ranker) for each in found] == [True] * 5 + [False] * 2
    assert [each.record.text for each in found[:3]] == [before[0], before[2], before[1]]
    encoder.is_away = True
    assert [each.record.text for each in await store.recall(ANN, "dog", limit=5)] == before
