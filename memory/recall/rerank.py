"""A second look at the head of a ranking, by a model that reads question and text together, where one is configured.

Its order does not replace the ranking but joins it, by reciprocal rank like every other ranker
(`memory.recall.rank_fusion`): it reads two texts, and knows nothing of when something was said, by whom, or what stood
around it. What it did not look at comes after what it did.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from memory.recall.rank_fusion import best_first, reciprocal_rank
from memory.recall.ranking import Ranked, Said

NAME = "cross_encoder"


class RerankerAway(Exception):
    """It does not answer now, or not in time."""


class CrossEncoder(Protocol):
    """Says how well a text answers a question: greater is better, nothing else is known of the scale."""

    most: int  # how many texts it is given at once, the best of a ranking

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """One score for each of `texts`; raises RerankerAway."""
        ...


async def reranked(encoder: CrossEncoder, question: str, found: Sequence[Ranked]) -> list[Ranked]:
    """`found` in the order of both, each with the score of that order, of equals the first; as it was without it.

    What the encoder looked at says so among its rankers, as `cross_encoder`.
    """
    head = found[: encoder.most]
    if not head:
        return []
    try:
        scores = np.array(await encoder.score(question, [each.item.text for each in head]), dtype=np.float64)
    except RerankerAway:
        return list(found)
    order = np.argsort(-scores, kind="stable")
    fused = reciprocal_rank([np.arange(len(found)), order], len(found))
    again = [replace(each, score=float(fused[place])) for place, each in enumerate(found)]
    for rank, place in enumerate(order.tolist(), 1):
        said = {**again[place].said, NAME: Said(rank, float(scores[place]))}
        again[place] = replace(again[place], said=said)
    return [again[place] for place in best_first(fused, len(found)).tolist()]
