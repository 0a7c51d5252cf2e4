"""What a person likes, from what they said, played and rated: Bayesian linear regression on features.

With signals of features x, reward r and weight w, the weights of features have the posterior N(m, s² A⁻¹) with
A = λI + Σ w x xᵀ and m = A⁻¹ Σ w r x. Thompson sampling draws weights from it (Agrawal and Goyal 2013,
https://arxiv.org/abs/1209.3352), which explores uncertain features and exploits liked ones. The weight of a signal is
halved after each half-life, and is lower in another context: music for running says little about music for sleep.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF_LIFE_DAYS = 60.0
OTHER_CONTEXT = 0.35  # how much a signal weighs outside its context
PRIOR_PRECISION = 1.0
EXPLORATION = 0.25  # the s above
Vector = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Signal:
    """A person's reaction to an item with `features`, from -1 (never again) to 1 (more of it)."""

    item: str
    features: Mapping[str, float]
    reward: float
    at: datetime
    context: str = ""


class Taste:
    """The posterior over the weights of features.

    Args:
        signals: all reactions of the person.
        now: the time, aware.
        context: the purpose, e.g. `sleep`; "" for none in particular.

    """

    def __init__(self, signals: Sequence[Signal], now: datetime, context: str = "") -> None:
        self._names = sorted({name for signal in signals for name in signal.features})
        self._index = {name: number for number, name in enumerate(self._names)}
        size = len(self._names)
        precision: Vector = PRIOR_PRECISION * np.eye(size)
        pull: Vector = np.zeros(size)
        for signal in signals:
            x, weight = self._vector(signal.features), _weight(signal, now, context)
            precision += weight * np.outer(x, x)
            pull += weight * signal.reward * x
        self._cholesky: Vector = np.linalg.cholesky(precision)
        self.mean: Vector = np.linalg.solve(precision, pull)

    def sample(self, rng: np.random.Generator) -> Vector:
        """Weights drawn from the posterior."""
        noise = rng.standard_normal(len(self._names))
        drawn: Vector = self.mean + EXPLORATION * np.linalg.solve(self._cholesky.T, noise)
        return drawn

    def score(self, features: Mapping[str, float], weights: Vector, rng: np.random.Generator | None = None) -> float:
        """The score of features; with an `rng`, the weight of an unknown feature is drawn from the prior."""
        known = float(self._vector(features) @ weights)
        unseen = sum(value**2 for name, value in features.items() if name not in self._index)
        if rng is None or not unseen:
            return known
        return known + EXPLORATION * float(rng.standard_normal()) * float(np.sqrt(unseen / PRIOR_PRECISION))

    def liked(self, features: Mapping[str, float], least: float = 0.05) -> list[str]:
        """Features that are liked, the most liked first."""
        known = [
            (self.mean[self._index[name]] * value, name) for name, value in features.items() if name in self._index
        ]
        return [name for weight, name in sorted(known, reverse=True) if weight > least]

    def _vector(self, features: Mapping[str, float]) -> Vector:
        x: Vector = np.zeros(len(self._names))
        for name, value in features.items():
            if name in self._index:
                x[self._index[name]] = value
        return x


def _weight(signal: Signal, now: datetime, context: str) -> float:
    age_days = max((now - signal.at).total_seconds(), 0.0) / 86400
    fresh: float = 0.5 ** (age_days / HALF_LIFE_DAYS)
    same = not context or not signal.context or signal.context == context
    return fresh * (1.0 if same else OTHER_CONTEXT)
