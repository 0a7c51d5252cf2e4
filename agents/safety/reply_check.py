"""Finds what a model must not say: encouraging harm, invented helplines, claims to be human, holding people back.

It uses phrases, as for people's messages (`data/reply_rules.yaml`). Paraphrases pass; a guard model finds more.
"""

from pathlib import Path

import yaml

from agents.safety.detection.phrases import Phrases
from agents.safety.detection.words import words_of
from agents.safety.risk import Category, Level, ReplyCheck, Risk
from agents.safety.texts import REPLACED

DATA = Path(__file__).parent / "data/reply_rules.yaml"


class ReplyRules:
    """The phrases, read once."""

    def __init__(self, path: Path = DATA) -> None:
        self._phrases = Phrases()
        for when, kinds in yaml.safe_load(path.read_text("utf-8")).items():
            for kind, phrases in kinds.items():
                self._phrases.add(f"{when}.{kind}", phrases)

    def check(self, text: str, risk: Risk, *, is_companion: bool = True) -> ReplyCheck:
        """Whether to show this reply in a conversation of this risk; `is_companion`: it comes from a companion."""
        in_danger = risk.category is not Category.NONE and risk.level >= Level.VEILED
        holds = {"always": True, "crisis": in_danger, "minor": risk.is_minor, "companion": is_companion}
        found = {match.name for match in self._phrases.matches(words_of(text)) if holds[match.name.partition(".")[0]]}
        if not found:
            return ReplyCheck(is_safe=True)
        replacement = REPLACED.get(risk.language, REPLACED["en"])
        return ReplyCheck(is_safe=False, reasons=tuple(sorted(found)), replacement=replacement)
