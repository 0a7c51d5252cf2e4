"""The index of vectors against inner products of the same vectors by numpy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memory.recall.ranking import Matrix
from memory.recall.vector_index import VectorIndex

DIMENSIONS = 48


def unit(count: int, seed: int) -> Matrix:
    """Return vectors of length 1."""
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    found: Matrix = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


@given(
    rows=st.lists(st.integers(0, 500), unique=True, min_size=1, max_size=300),
    again=st.integers(0, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_nearest_are_found_with_their_products(rows: list[int], again: int, seed: int) -> None:
    """Best first, each row once, its newest vector, right to three digits; -1 beyond what there is."""
    index, vectors = VectorIndex(DIMENSIONS), unit(len(rows), seed)
    index.put(rows, vectors)
    renewed = unit(len(rows), seed + 1)
    index.put(rows[:again], renewed[:again])
    vectors[:again] = renewed[:again]
    queries = unit(2, seed + 2)
    depth = len(rows) + 1
    scores, found = index.search(queries, depth)
    exact = queries @ vectors.T
    for query in range(2):
        assert sorted(found[query][:-1].tolist()) == sorted(rows)
        assert found[query][-1] == -1
        position = {row: number for number, row in enumerate(rows)}
        products = exact[query][[position[row] for row in found[query][:-1].tolist()]]
        assert np.abs(scores[query][:-1] - products).max() < 1e-3
        assert (np.diff(scores[query][:-1]) <= 0).all()
    assert len(index) == len(rows)


def test_a_view_keeps_two_bytes_a_number() -> None:
    """What an index says of its size is most of what it holds: half floats, and what finds their rows."""
    index = VectorIndex(384)
    index.put(range(1_000), np.zeros((1_000, 384), dtype=np.float32))
    assert 1_000 * 384 * 2 < index.size_bytes < 1_000 * 384 * 3
