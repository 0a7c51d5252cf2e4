"""Filters, a linear score with Thompson sampling, and maximal marginal relevance with at most two of a group.

MMR (Carbonell and Goldstein 1998) takes, one after the other, the candidate with the highest
λ · score - (1 - λ) · its likeness to what was taken.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from agents.ranking.candidate import Candidate, Ranked
from agents.ranking.taste import Taste

LAMBDA = 0.7
MAX_PER_GROUP = 2
FIT = 1.0  # how much what was asked for counts beside taste


def rank(
    candidates: Sequence[Candidate],
    taste: Taste,
    rng: random.Random,
    *,
    limit: int,
    not_items: Collection[str] = (),
    not_groups: Collection[str] = (),
    max_per_group: int = MAX_PER_GROUP,
    lambda_: float = LAMBDA,
) -> list[Ranked]:
    """The best `limit`, best first; nothing of `not_items` or `not_groups`. A lower `lambda_` takes more variety."""
    left = [each for each in candidates if each.id not in not_items and each.group not in not_groups]
    if not left:
        return []
    generator = np.random.default_rng(rng.getrandbits(64))
    weights = taste.sample(generator)
    scores = {each.id: FIT * each.fit + taste.score(each.features, weights, generator) for each in left}
    return [
        Ranked(each, scores[each.id], tuple(taste.liked(each.features)))
        for each in diversify(left, scores, limit=limit, max_per_group=max_per_group, lambda_=lambda_)
    ]


def diversify(
    candidates: Sequence[Candidate],
    scores: Mapping[str, float],
    *,
    limit: int,
    max_per_group: int = MAX_PER_GROUP,
    lambda_: float = LAMBDA,
) -> list[Candidate]:
    """MMR over scores brought to 0..1."""
    low, high = min(scores.values()), max(scores.values())
    relevance = {id_: (score - low) / (high - low) if high > low else 1.0 for id_, score in scores.items()}
    left = sorted(candidates, key=lambda each: -relevance[each.id])[: max(limit * 10, 50)]
    chosen: list[Candidate] = []
    groups: Counter[str] = Counter()
    likeness = {each.id: 0.0 for each in left}
    while left and len(chosen) < limit:
        best = max(left, key=lambda each: lambda_ * relevance[each.id] - (1 - lambda_) * likeness[each.id])
        chosen.append(best)
        groups[best.group] += 1
        left = [each for each in left if each.id != best.id and groups[each.group] < max_per_group]
        for each in left:
            likeness[each.id] = max(likeness[each.id], similarity(each, best))
    return chosen


def similarity(one: Candidate, other: Candidate) -> float:
    """The cosine of their features; 1 within a group."""
    if one.group == other.group:
        return 1.0
    dot = sum(value * other.features.get(name, 0.0) for name, value in one.features.items())
    norms = sum(v * v for v in one.features.values()) * sum(v * v for v in other.features.values())
    return float(dot / norms**0.5) if norms else 0.0
