"""Reranks the top of a ranking with a cross-encoder, a model that reads question and text together.

Its order does not replace the ranking but joins it by reciprocal rank, like every other ranker
(`memory.recall.rank_fusion`), because it reads only two texts: it does not know when something was said, by whom, or in
which context. Items that it did not read come after those that it did.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from memory.recall.rank_fusion import best_first, reciprocal_rank
from memory.recall.ranking import Ranked, RankerScore

NAME = "cross_encoder"


class RerankerAway(Exception):
    """It is down, or did not answer in time."""


class CrossEncoder(Protocol):
    """Scores how well a text answers a question. Greater is better; the scale is arbitrary."""

    max_candidates: int  # how many of the best texts it reads

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """One score for each of `texts`; raises RerankerAway."""
        ...


async def reranked(encoder: CrossEncoder, question: str, found: Sequence[Ranked]) -> list[Ranked]:
    """`found` in the fused order, with fused scores; equals keep their order. Unchanged if the encoder is down.

    Items that the encoder read have `cross_encoder` among their rankers.
    """
    head = found[: encoder.max_candidates]
    if not head:
        return []
    try:
        scores = np.array(await encoder.score(question, [each.item.text for each in head]), dtype=np.float64)
    except RerankerAway:
        return list(found)
    order = np.argsort(-scores, kind="stable")
    fused = reciprocal_rank([np.arange(len(found)), order], len(found))
    again = [replace(each, score=float(fused[index])) for index, each in enumerate(found)]
    for rank, index in enumerate(order.tolist(), 1):
        by_ranker = {**again[index].by_ranker, NAME: RankerScore(rank, float(scores[index]))}
        again[index] = replace(again[index], by_ranker=by_ranker)
    return [again[index] for index in best_first(fused, len(found)).tolist()]
