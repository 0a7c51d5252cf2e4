"""The set: 150 turns of 15 people in five languages, written for this benchmark, and what is to be remembered of each.

`turns.tsv`: who says it; the turn; the memory, if there is one; words that a memory of it must contain; words of the
earlier memory that it makes untrue; and a trap, a wrong memory that a careless model makes of it, of one of the kinds
TRAPS: of somebody else ("subject"), the opposite ("denied"), only supposed, or a secret.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("turns.tsv")
TRAPS = ("subject", "denied", "supposed", "secret")


@dataclass(frozen=True, slots=True)
class Expected:
    """A turn, and what is to be remembered of it; "" and () where there is nothing."""

    person: str
    turn: str
    claim: str
    words: Sequence[str]
    ends: Sequence[str]
    trap_kind: str
    trap: str


def read() -> list[Expected]:
    """All turns, in the order in which they are said."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Expected(
            row["person"],
            row["turn"],
            row["claim"],
            _words(row["words"]),
            _words(row["ends"]),
            row["trap_kind"],
            row["trap"],
        )
        for row in rows
    ]


def has(text: str, words: Sequence[str]) -> bool:
    """Whether a text has all of these words, or words that begin so."""
    return all(word.casefold() in text.casefold() for word in words)


def _words(cell: str) -> tuple[str, ...]:
    return tuple(word for word in cell.split(",") if word)
