"""Finds danger in one message by rules only, without a model or an embedding, in English, Bengali and Hindi.

The phrases are in `data/rules.yaml`. Text that only sounds like danger ("killed it", `kill -9`) is removed first: its
words cannot match anything else. This module does not know other messages (`agents.safety.detection.conversation`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agents.safety.detection.phrases import Phrases
from agents.safety.detection.words import words_of
from agents.safety.risk import Category, Level

DATA = Path(__file__).parents[1] / "data/rules.yaml"
CATEGORIES = (Category.SELF_HARM, Category.MINORS, Category.ABUSE, Category.EATING_DISORDER)
LEVELS = {"explicit": Level.EXPLICIT, "veiled": Level.VEILED, "distress": Level.DISTRESS}
ADULT, YOUNGEST = 18, 6
_TAKEN_OUT = "\N{MIDDLE DOT}"
_NOT_YEARS = frozenset(
    (
        *(
            "min",
            "mins",
            "minute",
            "minutes",
            "minits",
            "hour",
            "hours",
            "hr",
            "hrs",
            "second",
            "seconds",
            "day",
            "days",
        ),
        *("week", "weeks", "month", "months", "percent", "km", "kms", "kg", "kgs", "lbs", "pounds", "points", "pages"),
        *("levels", "level", "episodes", "feet", "ft", "cm", "inches", "miles", "times", "out", "st", "am", "pm"),
        *("dollars", "rupees", "taka", "games", "rounds", "people", "chapters", "weeks", "videos", "songs", "steps"),
        *("from", "to", "away", "off", "down", "up", "into", "deep", "behind", "ahead"),
    )
)


@dataclass(frozen=True, slots=True)
class Signals:
    """The findings in one message.

    Attributes:
        levels: the highest level of each category that was found.
        means: it asks for what could be a means, which says nothing by itself.
        for_friend: it says that it asks for somebody else.
        retracts: it takes back what was said before.
        sexual: it speaks of sex.
        age: the age that the person says they have, if under 18.

    """

    levels: Mapping[Category, Level]
    means: bool = False
    for_friend: bool = False
    retracts: bool = False
    sexual: bool = False
    age: int | None = None

    def level(self, category: Category) -> Level:
        """The level of one category."""
        return self.levels.get(category, Level.NONE)


class Rules:
    """The phrases, about ten thousand, read once in 0.25 s; raises ValueError if they are invalid."""

    def __init__(self, path: Path = DATA) -> None:
        written: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        self._harmless, self._phrases = Phrases(), Phrases()
        self._harmless.add("harmless", written["harmless"])
        self._phrases.add("age", written["age"])
        for category in CATEGORIES:
            for kind, phrases in written[category].items():
                self._phrases.add(f"{category}.{kind}", phrases)

    def read(self, text: str) -> Signals:
        """The findings in a message."""
        words = self._without_harmless(words_of(text))
        levels: dict[Category, Level] = {}
        kinds: set[str] = set()
        age: int | None = None
        for match in self._phrases.matches(words):
            if match.name == "age":
                age = age or _age(words, match.start, match.end)
                continue
            category, _, kind = match.name.partition(".")
            kinds.add(kind)
            if kind in LEVELS:
                levels[Category(category)] = max(LEVELS[kind], levels.get(Category(category), Level.NONE))
        return Signals(
            levels, "means" in kinds, "friend" in kinds, "retraction" in kinds, "sexual" in kinds, age
        )  # fmt: skip

    def _without_harmless(self, words: Sequence[str]) -> list[str]:
        left = list(words)
        for match in self._harmless.matches(words):
            left[match.start : match.end] = [_TAKEN_OUT] * (match.end - match.start)
        return left


def _age(words: Sequence[str], start: int, end: int) -> int | None:
    number = next((word for word in words[start:end] if word.isdecimal()), None)
    if number is None:  # a class at school
        return ADULT - 4
    after = list(words[end : end + 2])
    if after[:1] and after[0] in _NOT_YEARS:
        return None
    if len(after) > 1 and after[0] in ("years", "yrs", "year") and after[1] not in ("old", "of", "young"):
        return None  # 12 years sober
    years = int(number)
    in_class = any(word in ("class", "grade", "year") for word in words[start : end - 1])
    years = years + 5 if in_class else years
    return years if YOUNGEST <= years < ADULT else None
