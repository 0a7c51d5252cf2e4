"""The knowledge of twenty questions: things, and the facts about them. The referee uses nothing else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from agents.games.answers import plain
from agents.games.bundled.words import DATA

Truth = Literal["yes", "no", "sometimes"]


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """A question that can be asked: its words, and by which words another's question is known to be this one."""

    id: str
    text: str
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Things:
    """All of it: `known` has of each thing what is true of it (True) or depends (False)."""

    questions: Sequence[TableQuestion]
    known: Mapping[str, Mapping[str, bool]]

    def truth(self, thing: str, question: str) -> Truth:
        """What is true of a thing."""
        depends = self.known[thing].get(question)
        return "no" if depends is None else "yes" if depends else "sometimes"

    def find(self, text: str) -> TableQuestion | None:
        """The question that somebody's words are: the one of which they have most; None when they have of none.

        The answer names the recognised question.
        """
        words = plain(text)
        best: tuple[int, int, TableQuestion] | None = None
        for each in self.questions:
            if words == plain(each.text):
                return each
            hits = list(each.pattern.finditer(words))
            if hits:
                score = (sum(len(hit[0]) for hit in hits), hits[-1].start())
                if best is None or score > best[:2]:
                    best = (*score, each)
        return None if best is None else best[2]

    def question(self, id_: str) -> TableQuestion:
        """The question of that id."""
        return next(each for each in self.questions if each.id == id_)


def read_things(path: Path = DATA / "things.yaml") -> Things:
    """The bundled knowledge."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    questions = [TableQuestion(id_, each["ask"], _pattern(each["words"])) for id_, each in data["questions"].items()]
    known = {
        thing: {each.lstrip("?"): not each.startswith("?") for each in facts.split()}
        for thing, facts in data["things"].items()
    }
    return Things(questions, known)


def _pattern(words: str) -> re.Pattern[str]:
    alternatives = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in words.split())
    return re.compile(rf"\b(?:{alternatives})\b")
