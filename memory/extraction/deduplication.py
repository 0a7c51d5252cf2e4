"""Which memories say the same, and which are about the same.

By words alone: the same but for case, spaces and the full stop. By vectors too, where there are some: near by cosine,
and with the same pivots (`memory.contrast_terms`), since an embedding hardly tells "likes" from "does not like", 2 from
3 or Oslo from Rome. Two that are taken for one lose a sentence, two that are not cost one line of a prompt: it is
strict.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from memory.contrast_terms import is_reordered, pivots, word_order
from memory.recall.bm25 import LexicalIndex

NEAR = 0.92  # cosine, as for questions: bench/serving/semantic_cache.py

Vector = npt.NDArray[np.float32]


def normalised(text: str) -> str:
    """What texts that differ in nothing have in common."""
    return " ".join(text.casefold().split()).rstrip(".! ")


def is_near(one: str, other: str, vectors: tuple[Vector, Vector]) -> bool:
    """Whether one text says what the other says; `vectors` are theirs, of unit length."""
    if float(vectors[0] @ vectors[1]) < NEAR or pivots(one) != pivots(other):
        return False
    return not is_reordered(word_order(one), word_order(other))


def nearest(text: str, others: Sequence[str], *, most: int) -> list[int]:
    """The numbers of up to `most` of the `others` that share words with `text`, the best first."""
    index = LexicalIndex()
    for other in others:
        index.add(other)
    scores = np.zeros(len(others))
    for rows, gains in index.by_term(text):
        scores[rows] += gains
    best = np.argsort(-scores, kind="stable")[:most]
    return [int(row) for row in best if scores[row] > 0]
