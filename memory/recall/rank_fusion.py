"""Several rankings made one by reciprocal rank: rank r of a ranking gives 1 / (k + r) (Cormack et al., 2009).

Scores of different rankers cannot be compared, ranks can. The paper's k = 60 was found over pools of many systems;
with three rankers it makes rank 1 and rank 30 nearly alike, and measures worse here than any single ranker should
(docs/recall.md): k = 10.
"""

from collections.abc import Sequence

import numpy as np

from memory.recall.bm25 import Rows, Scores

K = 10.0


def reciprocal_rank(rankings: Sequence[Rows], size: int, *, k: float = K) -> Scores:
    """The fused score of each of `size` items; `rankings` hold numbers of items, best first, none twice.

    0 for an item that no ranking has; never more than `len(rankings) / (k + 1)`.
    """
    fused = np.zeros(size)
    for ranking in rankings:
        fused[ranking] += 1.0 / (k + np.arange(1, len(ranking) + 1))
    return fused


def best_first(scores: Scores, depth: int) -> Rows:
    """The numbers of the `depth` best `scores` above 0, best first; of equals, the first."""
    positive = np.flatnonzero(scores > 0)
    if len(positive) > depth:
        bound = np.partition(scores[positive], len(positive) - depth)[len(positive) - depth]
        positive = positive[scores[positive] >= bound]
    return positive[np.argsort(-scores[positive], kind="stable")][:depth]
