"""How probable it is that an item is relevant to a question, so that recall can find nothing.

The ranking only orders; its best item may still be about something else. This is a logistic regression on what the
rankers say of an item: the cosine of its text, the cosine of its window, and the share of the question's words (by
weight, nearest mentions) that are found there. Fitted by `bench.recall.calibrate`; docs/recall.md says on what, and how
well it is calibrated. Cosines are those of one embedder: with another, nothing is known of relevance, and nothing is
left out. Without vectors, the words alone decide.

A question that is about nothing of the person's shows in its best item. So all of a ranking counts or nothing: what
else is needed to answer is often less like the question than what it is about. A question that names somebody who has
spoken, or the asker, is about them and needs no such proof.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp
from types import MappingProxyType

# By the embedder's model id: constant, cosine of the text, cosine of the window, share of words.
WITH_VECTORS = MappingProxyType({"all-minilm-l6-v2": (-6.5, 3.44, 2.22, 3.25)})
WORDS_ONLY = (-4.69, 3.78)
SENSITIVE = 0.15  # how probably relevant a sensitive memory has to be


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one item: cosines (None: it has no vectors), and the share of the question's words that it covers, 0 to 1."""

    single: float | None = None
    window: float | None = None
    covered: float = 0.0


NOTHING_KNOWN = Evidence()


def relevance(evidence: Evidence, model: str | None) -> float | None:
    """The probability that the item is relevant; `model` made the vectors. None if nothing is known of its cosines."""
    if evidence.single is None and evidence.window is None:
        return _by_words(evidence)
    if model is None or model not in WITH_VECTORS:
        return None
    constant, by_single, by_window, by_words = WITH_VECTORS[model]
    score = constant + by_single * (evidence.single or 0.0) + by_window * (evidence.window or 0.0)
    return _logistic(score + by_words * evidence.covered)


def are_relevant(likely: Iterable[float | None], min_relevance: float) -> bool:
    """Whether the best of these results is at least so probably relevant, or nothing is known of it."""
    return any(each is None or each >= min_relevance for each in likely)


def is_about(evidence: Evidence, likely: float | None) -> bool:
    """Whether the question is about this item and not only near it, as it must be for a sensitive memory."""
    return (_by_words(evidence) if likely is None else likely) >= SENSITIVE


def _by_words(evidence: Evidence) -> float:
    constant, by_words = WORDS_ONLY
    return _logistic(constant + by_words * evidence.covered)


def _logistic(value: float) -> float:
    return 1 / (1 + exp(-value))
