"""Finds memories with the same content, and memories on the same topic.

By words: equal except for case, spaces and the full stop. By vectors, if available: close by cosine and with the same
contrast terms (`memory.contrast_terms`), because an embedding hardly distinguishes "likes" from "does not like", 2 from
3 or Oslo from Rome. A false match loses a sentence, a missed one costs a line of a prompt; so the rule is strict.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from memory.contrast_terms import contrast_terms, is_reordered, word_order
from memory.language.detection import language_of
from memory.language.terms import Terms
from memory.recall.bm25 import LexicalIndex

NEAR = 0.92  # cosine, as for questions: bench/serving/semantic_cache.py

Vector = npt.NDArray[np.float32]


def normalised(text: str) -> str:
    """The form in which equal texts are identical."""
    return " ".join(text.casefold().split()).rstrip(".! ")


def is_near(one: str, other: str, vectors: tuple[Vector, Vector]) -> bool:
    """Whether two texts have the same content; `vectors` are theirs, of unit length.

    Contrast terms are English, and so is the embedder: in another language, only the same words count, each as often.
    """
    if float(vectors[0] @ vectors[1]) < NEAR or contrast_terms(one) != contrast_terms(other):
        return False
    languages = {language_of(one), language_of(other)}
    if languages != {"en"}:
        return len(languages) == 1 and _words(one, *languages) == _words(other, *languages)
    return not is_reordered(word_order(one), word_order(other))


def _words(text: str, language: str) -> Counter[str]:
    """The words of a text, grammar and negations included, by their stems."""
    return Counter(Terms().in_language(text, language))


def nearest_by_meaning(texts: Sequence[Vector], others: Sequence[Vector | None], *, limit: int) -> list[int]:
    """The numbers of up to `limit` of the `others` that are nearest to any of `texts`, best first."""
    known = [(number, other) for number, other in enumerate(others) if other is not None]
    if not known or not len(texts):
        return []
    scores = (np.stack([other for _, other in known]) @ np.stack(texts).T).max(axis=1)
    return [known[place][0] for place in np.argsort(-scores, kind="stable")[:limit].tolist()]


def nearest(text: str, others: Sequence[str], *, limit: int) -> list[int]:
    """The numbers of up to `limit` of the `others` that share words with `text`, best first."""
    index = LexicalIndex()
    for other in others:
        index.add(other)
    scores = np.zeros(len(others))
    for rows, gains in index.by_term(text):
        scores[rows] += gains
    best = np.argsort(-scores, kind="stable")[:limit]
    return [int(row) for row in best if scores[row] > 0]
