"""Estimates traits from how a person writes, if they opted in: weak evidence, and treated as such.

It counts words and punctuation in at least MIN_MESSAGES of their own messages and compares them with rough rates, which
are no population norm; English only. Studies of writing find correlations of at most R with questionnaires, so an
estimate moves only that far from the middle, and its interval covers nearly the whole scale: combined with the
questionnaire it has about a fifth of the weight. It is never used to detect danger (`agents.safety`).
"""

import re
from collections.abc import Mapping, Sequence
from math import sqrt

from agents.personality.items import Trait
from agents.personality.scores import MIDDLE, SD, Evidence

MIN_MESSAGES, MAX_READ = 50, 500  # of the person's messages, the latest
R = 0.27
_WORD = re.compile(r"[a-z']+")
# A sign of a trait: its words, its rate among all words at which it says nothing, and in which direction it points.
_SIGNS: Mapping[Trait, tuple[tuple[frozenset[str], float, int], ...]] = {
    "extraversion": (
        (
            frozenset(["we", "us", "our", "party", "friends", "everyone", "together", "fun", "meet", "met", "people"]),
            0.020,
            1,
        ),
        (frozenset(["maybe", "perhaps", "alone", "quiet"]), 0.006, -1),
    ),
    "agreeableness": (
        (frozenset(["thanks", "thank", "please", "sorry", "love", "kind", "help", "glad", "care"]), 0.015, 1),
        (frozenset(["hate", "stupid", "idiot", "damn", "shit", "fuck", "fucking"]), 0.004, -1),
    ),
    "conscientiousness": (
        (
            frozenset(["plan", "planned", "finish", "finished", "done", "work", "schedule", "early", "list", "ready"]),
            0.012,
            1,
        ),
        (frozenset(["forgot", "late", "messy", "lazy", "damn", "whatever"]), 0.004, -1),
    ),
    "neuroticism": (
        (
            frozenset(
                [
                    "worried",
                    "worry",
                    "sad",
                    "anxious",
                    "afraid",
                    "stress",
                    "stressed",
                    "cry",
                    "upset",
                    "hate",
                    "awful",
                    "nervous",
                ]
            ),
            0.008,
            1,
        ),
        (frozenset(["calm", "relaxed", "fine"]), 0.005, -1),
    ),
    "openness": (
        (
            frozenset(
                [
                    "imagine",
                    "wonder",
                    "idea",
                    "ideas",
                    "art",
                    "music",
                    "book",
                    "books",
                    "poem",
                    "dream",
                    "strange",
                    "beautiful",
                    "why",
                ]
            ),
            0.012,
            1,
        ),
        (frozenset(["boring", "normal", "usual"]), 0.003, -1),
    ),
}


def evidence_of(messages: Sequence[str]) -> dict[Trait, Evidence]:
    """The estimates from the person's own messages; empty if there are too few."""
    if len(messages) < MIN_MESSAGES:
        return {}
    words = [word for message in messages for word in _WORD.findall(message.lower())]
    if not words:
        return {}
    found: dict[Trait, Evidence] = {}
    for trait, signs in _SIGNS.items():
        pulls = [way * _pull(sum(word in listed for word in words) / len(words), usual) for listed, usual, way in signs]
        pull = sum(pulls) / len(pulls)
        found[trait] = Evidence(MIDDLE + R * SD * pull, SD * sqrt(1 - R**2))
    return found


def _pull(rate: float, usual: float) -> float:
    """How much more or less frequent than usual, from -2 to 2."""
    return max(-2.0, min(2.0, 2 * (rate - usual) / (rate + usual)))
