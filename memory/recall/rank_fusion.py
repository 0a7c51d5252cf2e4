"""Fuses several rankings by reciprocal rank: rank r of a ranking gives 1 / (k + r) (Cormack et al., 2009).

Scores of different rankers cannot be compared, ranks can. The paper found k = 60 over pools of many systems. With three
rankers it makes rank 1 and rank 30 nearly equal, and measured worse here (docs/recall.md), so k = 10.
"""

from collections.abc import Sequence

import numpy as np

from memory.recall.bm25 import Rows, Scores

K = 10.0


def reciprocal_rank(rankings: Sequence[Rows], size: int, *, k: float = K) -> Scores:
    """The fused score of each of `size` items; `rankings` hold item numbers, best first, without duplicates.

    0 for an item that is in no ranking; at most `len(rankings) / (k + 1)`.
    """
    fused = np.zeros(size)
    for ranking in rankings:
        fused[ranking] += 1.0 / (k + np.arange(1, len(ranking) + 1))
    return fused


def best_first(scores: Scores, depth: int) -> Rows:
    """The numbers of the `depth` best `scores` above 0, best first; ties keep their order."""
    positive = np.flatnonzero(scores > 0)
    if len(positive) > depth:
        bound = np.partition(scores[positive], len(positive) - depth)[len(positive) - depth]
        positive = positive[scores[positive] >= bound]
    return positive[np.argsort(-scores[positive], kind="stable")][:depth]
