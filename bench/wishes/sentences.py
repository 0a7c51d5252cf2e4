"""The sentences: templates of a language with their words filled in, and what a person means by each.

A template is in one of two halves. The patterns were written while looking at `development`; `held_out` is for
measuring, and nobody changes a pattern for it. Both were written by the same hand before the patterns for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parent / "data"
HALVES = ("development", "held_out")
_SLOTS = {"clause": "clauses", "noun": "nouns", "name": "names", "remembered": "remembered"}


@dataclass(frozen=True)
class Sentence:
    """What is said; `action` is what it asks for ("none": nothing), `means` the ids of the past that it means."""

    half: str
    action: str
    text: str
    means: frozenset[str]


@dataclass(frozen=True)
class Language:
    """A past, as (id, speaker, text), and sentences on it."""

    code: str
    past: tuple[tuple[str, str, str], ...]
    sentences: tuple[Sentence, ...]


def read() -> list[Language]:
    """All languages."""
    return [_language(yaml.safe_load(path.read_text())) for path in sorted(DATA.glob("*.yaml"))]


def _language(data: dict[str, Any]) -> Language:
    past = tuple((each["id"], each["speaker"], each["text"]) for each in data["past"])
    sentences = [
        sentence
        for half in HALVES
        for action, templates in data[half].items()
        for template in templates
        for sentence in _filled(data, half, action, template)
    ]
    return Language(data["language"], past, tuple(sentences))


def _filled(data: dict[str, Any], half: str, action: str, template: str) -> Iterator[Sentence]:
    slot = next((slot for slot in _SLOTS if "{" + slot + "}" in template), None)
    if slot is None:
        everything = frozenset(each["id"] for each in data["past"])
        known = {"forget_last": frozenset(data["deictic"]["means"]), "forget_everything": everything}
        yield Sentence(half, action, template, known.get(action, frozenset()))
        return
    for filler in data[_SLOTS[slot]]:
        text, means = (filler, ()) if isinstance(filler, str) else (filler["text"], filler["means"])
        is_about = action in ("forget", "mute", "lift")
        yield Sentence(half, action, template.replace("{" + slot + "}", text), frozenset(means if is_about else ()))
