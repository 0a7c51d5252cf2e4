"""Reciprocal rank fusion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.recall.bm25 import Rows
from memory.recall.rank_fusion import reciprocal_rank

SIZE = 12
ranking = st.lists(st.integers(0, SIZE - 1), unique=True).map(lambda rows: np.array(rows, dtype=np.int64))
rankings = st.lists(ranking, max_size=5)
ks = st.floats(0, 100)


@given(
    st.lists(ranking, min_size=1, max_size=5).flatmap(lambda them: st.tuples(st.just(them), st.permutations(them))), ks
)
def test_the_order_of_rankers_does_not_matter(both: tuple[list[Rows], list[Rows]], k: float) -> None:
    """Fusion is symmetric in its rankings."""
    one, other = both
    assert reciprocal_rank(one, SIZE, k=k) == pytest.approx(reciprocal_rank(other, SIZE, k=k))


@given(rankings, ks)
def test_scores_are_bounded(them: list[Rows], k: float) -> None:
    """Nobody gets more than first place everywhere, and what no ranker named gets nothing."""
    fused = reciprocal_rank(them, SIZE, k=k)
    assert fused.max() <= len(them) / (k + 1) + 1e-12
    named = {row for rows in them for row in rows.tolist()}
    assert set(np.flatnonzero(fused).tolist()) == named


@given(rankings, ranking, ks)
def test_being_named_once_more_never_harms(them: list[Rows], more: Rows, k: float) -> None:
    """Another ranking raises what it names and leaves the rest where it was."""
    before, after = reciprocal_rank(them, SIZE, k=k), reciprocal_rank([*them, more], SIZE, k=k)
    named = np.isin(np.arange(SIZE), more)
    assert (after[named] > before[named]).all()
    assert (after[~named] == before[~named]).all()


@given(st.lists(st.permutations(range(SIZE)), min_size=1, max_size=5), st.integers(0, SIZE - 1), ks)
def test_what_all_put_first_is_first(orders: list[list[int]], winner: int, k: float) -> None:
    """An item that every ranker prefers to all others wins."""
    them = [np.array([winner, *(row for row in order if row != winner)]) for order in orders]
    fused = reciprocal_rank(them, SIZE, k=k)
    assert fused.argmax() == winner
    assert (np.delete(fused, winner) < fused[winner]).all()


@given(st.permutations(range(SIZE)), ks)
def test_one_ranking_keeps_its_order(order: list[int], k: float) -> None:
    """Fusing one ranking changes nothing."""
    fused = reciprocal_rank([np.array(order)], SIZE, k=k)
    assert np.argsort(-fused, kind="stable").tolist() == order
