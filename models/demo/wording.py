"""How people type and how replies are spelt: casing, contractions, typos, "my" turned to "your".

It knows nothing of grammar rules; slot values are what stands between `OPEN` and `CLOSE`.
"""

import random
import re
from dataclasses import dataclass
from typing import Literal

from models.demo.grammar import CLOSE, OPEN

ONSETS = [
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
    "b",
    "d",
    "k",
    "l",
    "m",
    "n",
    "r",
    "s",
    "t",
    "v",
    "l",
    "m",
    "n",
    "r",
    "br",
    "dr",
    "fr",
    "gr",
    "kr",
    "pl",
    "sh",
    "st",
    "th",
    "tr",
    "ch",
]
VOWELS = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "a", "e", "i", "o", "ai", "ei", "ia", "io", "ee"]
CODAS = ["", "", "", "", "", "", "n", "r", "l", "s", "m", "t", "k", "nd", "x"]
SMALL_WORDS = {"of", "and", "in", "the"}
PERSONS = {
    "i": "you",
    "i'm": "you're",
    "im": "you're",
    "i've": "you've",
    "my": "your",
    "me": "you",
    "am": "are",
    "myself": "yourself",
    "mine": "yours",
    "i'll": "you'll",
}


@dataclass(frozen=True)
class Habit:
    """One person's way of typing."""

    casing: Literal["clean", "casual", "lower"]
    apostrophes: bool
    stops: bool
    typos: float


def draw_habit(rng: random.Random) -> Habit:
    """Draw how the person of one dialogue types."""
    casing = rng.choices(("clean", "casual", "lower"), (45, 25, 30))[0]
    if casing == "clean":
        return Habit("clean", apostrophes=True, stops=rng.random() < 0.7, typos=0.0)
    return Habit(
        "lower" if casing == "lower" else "casual",
        apostrophes=rng.random() < 0.5,
        stops=rng.random() < 0.2,
        typos=rng.choice((0.0, 0.0, 0.01, 0.02)),
    )


def syllables(rng: random.Random) -> str:
    """Make up a capitalised name that no list holds."""
    parts = [rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
    word = "".join(parts)
    return (word if len(word) > 3 else word + rng.choice(("ra", "lo", "ni", "ta", "mo"))).capitalize()


def title_case(text: str) -> str:
    """Capitalise a title's words except the small ones inside."""
    words = text.split()
    cased = [w if i and w in SMALL_WORDS else w[:1].upper() + w[1:] for i, w in enumerate(words)]
    return " ".join(cased)


def typo(word: str, rng: random.Random) -> str:
    """Swap, drop or double one letter of a longer word."""
    if len(word) < 4 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )


def articles(text: str) -> str:
    """Write "an" before a vowel's letter."""
    return re.sub(rf"\b([Aa]) (?={OPEN}?[aeiouAEIO])(?!{OPEN}?(?:uni|use|one\b))", r"\1n ", text)


def tidy(text: str) -> str:
    """Drop the marks and repair the spaces around punctuation."""
    text = text.replace(OPEN, "").replace(CLOSE, "")
    text = re.sub(r"\s+([,.!?])", r"\1", re.sub(r"\s+", " ", text)).strip()
    return re.sub(r"^[,.!] *", "", re.sub(r"([!?.])\.", r"\1", text))


def as_typed(text: str, habit: Habit, rng: random.Random) -> str:
    """Spell what the user says by `habit`; slot values are never misspelt."""
    pieces = re.split(f"({OPEN}[^{CLOSE}]*{CLOSE})", articles(text))
    if habit.typos:
        pieces = [
            piece
            if piece.startswith(OPEN)
            else re.sub(r"\w+", lambda m: typo(m[0], rng) if rng.random() < habit.typos else m[0], piece)
            for piece in pieces
        ]
    out = tidy("".join(pieces))
    if habit.casing == "lower":
        out = out.lower()
    if not habit.apostrophes:
        out = re.sub(r"\b(\w+)'(m|s|re|ve|t|ll|d)\b", r"\1\2", out)
        if rng.random() < 0.3:
            out = out.rstrip("?")
    if habit.casing == "clean":
        out = re.sub(r"\bi\b", "I", out)
        out = re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), out)
    if habit.stops and out[-1:] not in "?!.":
        out += rng.choice(".....!")
    return out


def to_you(text: str) -> str:
    """Turn a person's words round: "my boss yelled at me" to "your boss yelled at you"."""
    text = re.sub(r"\b[Ii] was\b", "you were", text)
    return re.sub(r"[A-Za-z']+", lambda m: PERSONS.get(m[0].lower(), m[0]), text)


def as_reply(text: str) -> str:
    """Spell a reply: articles right, sentences capitalised."""
    out = tidy(articles(text))
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), out)
