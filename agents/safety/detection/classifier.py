"""A small classifier on a message's embedding: multinomial logistic regression, for all-MiniLM-L6-v2's 384 numbers.

Weights and thresholds are in `data/classifier.json`, trained by `python -m bench.safety.training`. The embedder was
trained on English and hardly reads Bengali and Hindi script, so these languages have thresholds of their own and rely
on rules (figures: docs/safety.md). The classifier does not know rules or other messages.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from agents.safety.risk import Category, Level

DATA = Path(__file__).parents[1] / "data/classifier.json"
CLASSES = ("none", "distress", "self_harm", "abuse", "eating_disorder")


@dataclass(frozen=True, slots=True)
class Opinion:
    """The category found by the classifier, and its confidence (0 to 1)."""

    category: Category
    level: Level
    probability: float


class Classifier:
    """The weights, read once; raises ValueError if they are invalid."""

    def __init__(self, path: Path = DATA) -> None:
        read: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if tuple(read["classes"]) != CLASSES:
            raise ValueError(f"{path}: classes {read['classes']}, not {CLASSES}")
        self._weights = numpy.asarray(read["weights"], dtype=numpy.float32)
        self._bias = numpy.asarray(read["bias"], dtype=numpy.float32)
        self._thresholds: Mapping[str, float] = read["thresholds"]
        self.dimensions = int(self._weights.shape[0])

    def read(self, embedding: Sequence[float] | numpy.ndarray, language: str) -> Opinion:
        """Classify an embedding; the level is VEILED at most, because a guess is never plain words.

        Raises ValueError for an embedding of another length.
        """
        vector = numpy.asarray(embedding, dtype=numpy.float32)
        if vector.shape != (self.dimensions,):
            raise ValueError(f"an embedding of {vector.shape}, not ({self.dimensions},)")
        scores = probabilities(vector[None, :] @ self._weights + self._bias)[0]
        dangers = {name: float(scores[CLASSES.index(name)]) for name in CLASSES[2:]}
        name = max(dangers, key=lambda each: dangers[each])
        if dangers[name] >= self._thresholds[language]:
            return Opinion(Category(name), Level.VEILED, dangers[name])
        unwell = float(scores[1]) + dangers["self_harm"]
        if unwell >= self._thresholds[f"distress_{language}"]:
            return Opinion(Category.SELF_HARM, Level.DISTRESS, unwell)
        return Opinion(Category.NONE, Level.NONE, float(scores[0]))


def probabilities(scores: numpy.ndarray) -> numpy.ndarray:
    """Softmax over the last axis."""
    exponents = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    return numpy.asarray(exponents / exponents.sum(axis=-1, keepdims=True))
