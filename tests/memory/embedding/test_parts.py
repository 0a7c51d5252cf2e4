"""A long turn has a vector of each of its parts, so that nothing that was said is out of reach."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memory.embedding.parts import PART_BYTES, parts_of
from memory.recall.vector_index import VectorIndex
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.owner import Owner
from tests.memory.conftest import BEGINNING
from tests.support.memory.word_embedder import WordEmbedder

ANN = Owner("app", "ann")
FILLER = "We talked about nothing much and the weather was what it always is. " * 20
LONG = f"{FILLER}The zeppelin burst over the harbour. {FILLER}"


@given(st.text(max_size=3000))
def test_parts_are_the_whole_text(text: str) -> None:
    """Nothing is lost but blanks, and no part is too long; a short text has none."""
    parts = parts_of(text)
    assert all(0 < len(part.encode()) <= PART_BYTES for part in parts)
    assert bool(parts) == (len(text.encode()) > PART_BYTES and bool(text.strip()))
    if parts:
        assert "".join("".join(parts).split()) == "".join(text.split())


async def test_the_end_of_a_long_turn_is_found_by_its_meaning(store: MemoryService, embedder: WordEmbedder) -> None:
    """By the vector of the part that says it, which the result names; short turns have one vector as before."""
    turns = [NewMessage("long", "Ann", LONG, BEGINNING), NewMessage("short", "Ann", "The harbour is old", BEGINNING)]
    await store.ingest(ANN, "c", turns)
    (found,) = [each for each in await store.recall(ANN, "zeppelin burst", limit=9) if each.ranked.item.text == LONG]
    assert found.ranked.part is not None
    assert "zeppelin" in parts_of(LONG)[found.ranked.part]
    asked, said = await embedder.embed(["zeppelin burst", parts_of(LONG)[found.ranked.part]])
    whole = (await embedder.embed([LONG]))[0]
    assert abs(found.ranked.by_ranker["single"].score - float(asked @ said)) < 2e-3
    assert float(asked @ said) > float(asked @ whole)


def test_a_row_with_several_vectors_counts_once() -> None:
    """By the nearest of them; with fewer later, the others are gone."""
    index = VectorIndex(2)
    index.put([0, 0, 0, 1], np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6]], dtype=np.float32))
    scores, rows = index.search(np.array([[0, 1]], dtype=np.float32), 2)
    assert rows.tolist() == [[0, 1]]
    assert np.allclose(scores, [[1, 0.6]], atol=1e-3)
    assert len(index) == 2
    assert index.nearest_part(np.array([[0, 1]], dtype=np.float32), 0) == 1
    assert index.nearest_part(np.array([[0, 1]], dtype=np.float32), 1) is None
    index.put([0], np.array([[1, 0]], dtype=np.float32))
    scores, rows = index.search(np.array([[0, 1]], dtype=np.float32), 3)
    assert rows.tolist() == [[1, 0, -1]]
