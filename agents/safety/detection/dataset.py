"""The messages for training and measuring the classifier: written for this project, split by template.

All messages of one template are in the same part, so no measured message was learned by heart. None are real people's.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from agents.safety.detection.phrases import alternatives
from agents.safety.risk import Category, Level

DATA = Path(__file__).parents[1] / "data"
LANGUAGES = ("en", "bn", "hi")
Part = Literal["train", "dev", "test"]
LEVELS = {"explicit": Level.EXPLICIT, "veiled": Level.VEILED, "low": Level.DISTRESS}


@dataclass(frozen=True, slots=True)
class Example:
    """A message, its label, and a hash of its template."""

    text: str
    language: str
    kind: str  # as in the files: self_harm.veiled, none.idiom
    template: str
    part: Part

    @property
    def category(self) -> Category:
        """The category; NONE for harmless messages and for distress."""
        name = self.kind.partition(".")[0]
        return Category.NONE if name in ("none", "distress") else Category(name)

    @property
    def level(self) -> Level:
        """The level."""
        return LEVELS.get(self.kind.partition(".")[2], Level.NONE)


def read_examples(folder: Path = DATA) -> list[Example]:
    """All examples, each with and without an opener; raises ValueError for an invalid template."""
    examples = [each for language in LANGUAGES for each in _of_language(folder / f"{language}.yaml", language)]
    return list({each.text: each for each in examples}.values())


def _of_language(path: Path, language: str) -> Iterator[Example]:
    written: dict[str, list[str]] = yaml.safe_load(path.read_text("utf-8"))
    openers = written.pop("openers")
    for kind, templates in written.items():
        for template in templates:
            digest = hashlib.sha256(template.encode()).hexdigest()
            part = _part(int(digest[:8], 16) % 100)
            for number, text in enumerate(alternatives(template)):
                plain = text.removesuffix(" .").replace(" ।", "।").strip()
                yield Example(plain, language, kind, digest[:12], part)
                opener = openers[(int(digest[8:12], 16) + number) % len(openers)]
                yield Example(f"{opener} {plain}", language, kind, digest[:12], part)


def _part(percent: int) -> Part:
    return "train" if percent < 60 else "dev" if percent < 75 else "test"
