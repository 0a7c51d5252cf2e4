"""The topics that users talk about, from `data/topics.txt`, and the values that one conversation fills in.

Lines have the notation of `models.demo.grammar`, and use its word lists. It does not know the structure of a
conversation.
"""

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from models.demo import memory as demo_memory
from models.demo.grammar import CLOSE, OPEN, Grammar, Speaker, UnboundError, expand, held_out, load
from models.demo.wording import Habit, articles, as_reply, as_typed, draw_habit, syllables

DATA = Path(__file__).with_name("data")
Part = Literal["train", "held_out", "unseen"]
"""`unseen`: topics, names and whole templates that no corpus has, written after the training (`data/unseen`)."""
UNSEEN = DATA / "unseen"
HELD_OUT_IN = 6
"""One in this many phrasings of users belongs to the held-out part."""
NAMES = ("name", "person", "place", "artist", "song", "film", "game", "book", "pet_name", "kid")
"""Slots whose values are proper nouns, which replies must copy exactly."""
CLEAN = Habit("clean", apostrophes=True, stops=True, typos=0.0)


@dataclass
class Topic:
    """One topic: alternatives by field; `more` and `cue` are pairs of a user message and a reply.

    `words`: of the unseen part, what every statement of the topic names and the corpus never does.
    """

    name: str
    kind: str
    sensitivity: str
    held: bool
    lines: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    more: list[tuple[str, str]] = field(default_factory=list)
    cue: list[tuple[str, str]] = field(default_factory=list)

    def __getitem__(self, kind: str) -> list[str]:
        """The alternatives of a field; empty if there are none."""
        return self.lines.get(kind, [])


def read_topics(part: Part = "train") -> tuple[dict[str, Topic], dict[str, list[str]]]:
    """A part's topics by name, and the word lists between them; raises ValueError with an invalid line's number."""
    topics: dict[str, Topic] = {}
    rules: dict[str, list[str]] = {}
    topic, rule = None, None
    for number, raw in enumerate((folder_of(part) / "topics.txt").read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "@":
            name, kind, sensitivity, *held = rest.split()
            topic, rule = topics.setdefault(name, Topic(name, kind, sensitivity, bool(held))), None
        elif word == "=":
            rule = rules.setdefault(rest, [])
        elif rule is not None:
            rule.append(line)
            rule = None
        elif topic is None:
            raise ValueError(f"topics.txt:{number}: belongs to no topic: {line}")
        elif word == "cue":
            statement, _, reply = rest.partition(" => ")
            topic.cue.append((statement, reply))
        elif word == "words":
            topic.words += rest.split(", ")
        elif word == "then":
            topic.more.append((topic["more"][-1], rest))
        else:
            topic.lines.setdefault(word, []).append(rest)
    return topics, rules


def folder_of(part: Part) -> Path:
    """Where the templates of a part are."""
    return UNSEEN if part == "unseen" else DATA


def read_grammar(part: Part = "train") -> Grammar:
    """The demonstration model's word lists, with the lists of the topics added; the unseen part has its own only."""
    if part == "unseen":
        return Grammar(read_topics(part)[1])
    grammar = load(Path(demo_memory.__file__).with_name("grammar"))
    grammar.rules |= read_topics(part)[1]
    return grammar


def is_held_out(template: str) -> bool:
    """Whether a user's phrasing belongs to the held-out part; depends only on its text."""
    return hashlib.sha256(f"companion {template}".encode()).digest()[0] % HELD_OUT_IN == 0


def of_part(templates: Sequence[str], part: Part) -> list[str]:
    """The alternatives that a part may use; all of them if it would have none, or if no corpus has any of them."""
    if part == "unseen":
        return list(templates)
    return [each for each in templates if is_held_out(each) == (part == "held_out")] or list(templates)


class Blanks(demo_memory.Memory):
    """The values of one conversation's slots, separately for each topic: two topics may have a different {person}."""

    def __init__(self, grammar: Grammar, rng: random.Random, part: Part) -> None:
        super().__init__(grammar, rng, CLEAN, part == "train")
        self.part = part
        self.topics: dict[str, dict[str, str]] = {}
        self.typing = draw_habit(rng)

    def enter(self, topic: str) -> None:
        """Switch to a topic's own values."""
        self.scene = self.topics.setdefault(topic, {})
        self.mentioned = set(self.scene)

    def new_value(self, slot: str) -> str:
        """Draw a value; half of the names of animals and children are made up, and of people in the unseen part."""
        if self.part == "unseen":
            if slot not in ("name", "person"):
                return self.plain(slot)
            return self.made_up() if self.rng.random() < 0.5 else self.plain("given_name")
        if slot in ("pet_name", "kid"):
            if self.rng.random() < 0.5:
                return self.made_up()
            listed = self.grammar.rules["pet_name" if slot == "pet_name" else "first_name"]
            return self.rng.choice([each for each in listed if held_out(each) != self.training] or listed)
        if slot == "date_words":
            months = [
                "January",
                "February",
                "March",
                "April",
                "May",
                "June",
                "July",
                "August",
                "September",
                "October",
                "November",
                "December",
            ]
            return f"{self.rng.choice(months)} {self.rng.randint(1, 28)}"
        return super().new_value(slot)

    def draw(self, slot: str, speaker: Speaker, fresh: bool) -> str:
        """As in the demonstration corpus, but with fewer names, and phrases are not converted to the second person."""
        if slot == "&name":
            known = self.facts.get("name")
            return f", {OPEN}{known}{CLOSE}" if known and self.rng.random() < 0.4 else ""
        return super().draw(slot, speaker, fresh)

    def typed(self, template: str) -> str:
        """Expand a template in the user's typing style."""
        return as_typed(expand(template, self.grammar, self.rng, self, "user"), self.typing, self.rng)

    def written(self, template: str) -> str:
        """Expand a template as the user's words in clean spelling, without a full stop at the end."""
        return as_typed(expand(template, self.grammar, self.rng, self, "user"), CLEAN, self.rng).rstrip(".!")

    def reply(self, template: str) -> str:
        """Expand a template as a reply; raises UnboundError if it would have to invent something."""
        return as_reply(expand(template, self.grammar, self.rng, self, "assistant"))

    def plain_text(self, template: str) -> str:
        """Expand a template without changing its spelling; raises UnboundError."""
        text = articles(expand(template, self.grammar, self.rng, self, "assistant"))
        return re.sub(r"\s+", " ", text.replace(OPEN, "").replace(CLOSE, "")).strip()

    def names_in(self, text: str) -> list[str]:
        """The proper nouns of this conversation that occur in a text."""
        slots = [self.facts, *self.topics.values()]
        found = {v for one in slots for slot, v in one.items() if re.sub(r"\d+$", "", slot) in NAMES and v in text}
        return sorted(found)


def made_up_word(rng: random.Random, part: Part) -> str:
    """A made-up name of a part."""
    while held_out(word := syllables(rng)) == (part == "train"):
        pass
    return word


__all__ = ["Blanks", "Part", "Topic", "UnboundError", "is_held_out", "made_up_word", "of_part", "read_grammar"]
