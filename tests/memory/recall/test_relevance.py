"""Recall finds nothing if nothing is relevant, and sensitive things only if the question is about them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.recall.index_cache import IndexCache
from memory.recall.relevance import WITH_VECTORS, Evidence, are_relevant, is_about, relevance
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.vectors.embeddings import Space
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
(MODEL,) = WITH_VECTORS


def test_more_evidence_is_more_probable() -> None:
    """A probability, of vectors and words, or of words alone; None of an embedder whose cosines are not known."""
    for model in (None, MODEL):
        by_words = [relevance(Evidence(covered=share), model) or 0.0 for share in (0.0, 0.5, 1.0)]
        assert 0 < by_words[0] < by_words[1] < by_words[2] < 1
    seen = [Evidence(0, 0, 0), Evidence(0.4, 0, 0), Evidence(0.4, 0.4, 0), Evidence(0.4, 0.4, 1)]
    probabilities = [relevance(each, MODEL) or 0.0 for each in seen]
    assert probabilities == sorted(probabilities)
    assert relevance(seen[0], "another") is None
    assert are_relevant([None], 0.9)
    assert not are_relevant([], 0.1)
    assert is_about(Evidence(0.1, 0.1, 1.0), None)
    assert not is_about(Evidence(0.9, 0.9, 0.0), None)


class KnownEmbedder(WordEmbedder):
    """Word vectors under the name of the embedder that was calibrated."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space(MODEL, "1")


@pytest.fixture
def known(engine: AsyncEngine, clock: Callable[[], datetime]) -> Iterator[MemoryService]:
    """Return a store whose embedder's cosines are known."""
    embedder = KnownEmbedder()
    index_cache = IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**30)
    yield MemoryService(engine, index_cache, embedder, clock)
    index_cache.close()


async def test_small_talk_and_questions_about_nothing_recall_nothing(known: MemoryService) -> None:
    """By the words of a greeting, or because nothing is like it; without a minimum, whatever is nearest is found."""
    await known.ingest(ANN, "c", [NewMessage("1", "Ann", "I adopted a brown dog called Rex", DAY)])
    for text in ("Hi!", "Guten Morgen!", "Convert seven miles please", "\u0928\u092e\u0938\u094d\u0924\u0947"):
        assert await known.recall(ANN, text, limit=9, min_relevance=0.018) == []
    assert len(await known.recall(ANN, "Convert seven miles please", limit=9)) == 1
    assert await known.recall(ANN, "What of seven miles?", limit=9, min_relevance=0.9) == []
    assert len(await known.recall(ANN, "What of Ann and seven miles?", limit=9, min_relevance=0.9)) == 1, "it names her"
    (found,) = await known.recall(ANN, "Which brown dog was adopted?", limit=9, min_relevance=0.018)
    assert found.ranked.relevance is not None
    assert 0.1 <= found.ranked.relevance <= 1


async def test_what_is_sensitive_is_found_only_when_it_is_asked_for(known: MemoryService) -> None:
    """The memory and the turn that it quotes, from the moment of the mark until it is taken away."""
    said = "I take antidepressants since spring"
    ids = (await known.ingest(ANN, "c", [NewMessage("1", "Ann", said, DAY)])).ids
    near, about = "Which birds sing in spring?", "Which antidepressants do I take since spring?"
    await known.add(ANN, NewMemory("Birds sing in the garden in spring"))
    assert said in [each.record.text for each in await known.recall(ANN, near, limit=9, min_relevance=0.01)]
    memory = NewMemory("Takes antidepressants", message_id=ids["1"], sensitivity="sensitive")
    await known.add(ANN, memory, id_="pills")
    assert [each.record.text for each in await known.recall(ANN, near, limit=9, min_relevance=0.01)] == [
        "Birds sing in the garden in spring"
    ]
    assert said in [each.record.text for each in await known.recall(ANN, about, limit=9, min_relevance=0.01)]
    await known.edit(ANN, "pills", {"sensitivity": "ordinary"})
    assert said in [each.record.text for each in await known.recall(ANN, near, limit=9, min_relevance=0.01)]
