"""Scores with intervals: of the questionnaire's answers, of a person's own correction, and a little of their language.

A trait's score is the mean of its answered items, at least MIN_ITEMS of them. Its interval is 1.96 standard errors of
measurement, SD * sqrt(1 - reliability), with the reliability of so many items by Spearman and Brown's formula from the
published alpha. SD is a round figure for a five-point scale, not a population norm: scores are not compared with other
people's. A person's own correction takes precedence. This module does not know where answers are stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from agents.personality.items import ALPHA, HIGHEST, ITEMS, LOWEST, TRAITS, Trait

SD = 0.8
MIDDLE = (LOWEST + HIGHEST) / 2
MIN_ITEMS = 2
Z = 1.96
Source = Literal["own_word", "questionnaire", "questionnaire_and_language", "language"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """An estimate and its standard error."""

    estimate: float
    error: float


@dataclass(frozen=True, slots=True)
class Score:
    """A trait from 1 to 5, with a 95 % interval; `items` were answered for it."""

    trait: Trait
    estimate: float
    low: float
    high: float
    source: Source
    items: int

    @property
    def is_high(self) -> bool:
        """Whether the whole interval is above the middle."""
        return self.low > MIDDLE

    @property
    def is_low(self) -> bool:
        """Whether the whole interval is below the middle."""
        return self.high < MIDDLE


def scores_of(
    answers: Mapping[int, int],
    *,
    corrected: Mapping[Trait, float] | None = None,
    language: Mapping[Trait, Evidence] | None = None,
) -> list[Score]:
    """The traits with enough answers, a correction, or an estimate from language."""
    found = []
    for trait in TRAITS:
        values = [item.value(answers[item.number]) for item in ITEMS if item.trait == trait and item.number in answers]
        if corrected and trait in corrected:
            found.append(Score(trait, corrected[trait], corrected[trait], corrected[trait], "own_word", len(values)))
            continue
        own = _questionnaire(trait, values)
        weak = (language or {}).get(trait)
        source: Source = "questionnaire"
        if own is not None and weak is not None:
            own, source = _combined(own, weak), "questionnaire_and_language"
        elif own is None and weak is not None:
            own, source = weak, "language"
        if own is not None:
            found.append(
                Score(
                    trait,
                    round(own.estimate, 2),
                    round(max(own.estimate - Z * own.error, LOWEST), 2),
                    round(min(own.estimate + Z * own.error, HIGHEST), 2),
                    source,
                    len(values),
                )
            )
    return found


def _questionnaire(trait: Trait, values: list[int]) -> Evidence | None:
    if len(values) < MIN_ITEMS:
        return None
    times = len(values) / sum(item.trait == trait for item in ITEMS)
    reliability = times * ALPHA[trait] / (1 + (times - 1) * ALPHA[trait])
    return Evidence(sum(values) / len(values), SD * sqrt(1 - reliability))


def _combined(one: Evidence, other: Evidence) -> Evidence:
    """Both combined, weighted by their precision."""
    weights = (1 / one.error**2, 1 / other.error**2)
    estimate = (one.estimate * weights[0] + other.estimate * weights[1]) / sum(weights)
    return Evidence(estimate, sqrt(1 / sum(weights)))
