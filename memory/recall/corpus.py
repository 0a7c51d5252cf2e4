"""All items of one person that recall ranks, as rows: turns of conversations, and memories made from them.

Rows are numbered from 0 in the order of addition; the vector indexes (`memory.recall.ranking.VectorSearch`) use the
same numbers. Turns of a conversation are added in order. Nothing is removed: after a deletion the corpus is rebuilt.
Not thread-safe.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from memory.recall.bm25 import LexicalIndex, Rows, Scores
from memory.recall.context_windows import Neighbours, window_text

Flags = npt.NDArray[np.bool_]
NOBODY = -1
ITEM_BYTES = 400  # an Item with its strings' headers and its place in every column, about


@dataclass(frozen=True, slots=True)
class Item:
    """A turn, or a memory.

    `at`: the time of the turn, or of a memory's event; `speaker`: who said it, or whom a memory is about;
    `conversation`: shared with its neighbours, None for a memory.
    """

    id: str
    kind: Literal["turn", "memory"]
    text: str
    at: datetime
    speaker: str | None = None
    conversation: str | None = None


class Corpus:
    """One person's items, ready to be ranked."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.lexical = LexicalIndex()
        self._neighbours = Neighbours()
        self._people: dict[str, int] = {}
        self.own_names: frozenset[str] = frozenset()  # of the person as a speaker: the names are one
        self._speakers = array("i")
        self._at_s = array("d")
        self._turns = array("b")
        self._characters = 0

    def __len__(self) -> int:
        return len(self.items)

    def add(self, item: Item) -> int:
        """Add an item; returns its row."""
        self.items.append(item)
        self.lexical.add(item.text)
        self._neighbours.add(item.conversation)
        speaker = NOBODY if item.speaker is None else self._people.setdefault(item.speaker, len(self._people))
        self._speakers.append(speaker)
        self._at_s.append(item.at.timestamp())
        self._turns.append(item.kind == "turn")
        self._characters += len(item.text)
        return len(self.items) - 1

    @property
    def people(self) -> Sequence[str]:
        """The names of all speakers."""
        return tuple(self._people)

    @property
    def size_bytes(self) -> int:
        """Its approximate size in memory without vectors, bytes."""
        return self.lexical.size_bytes + self._characters + ITEM_BYTES * len(self.items)

    def window(self, row: int) -> str:
        """The text to embed for a turn with its neighbours; a memory's own text.

        The next turn of the conversation changes it.
        """
        around = (self.items[each] for each in self._neighbours.around(row))
        return window_text((item.speaker, item.text) for item in around)

    def links(self) -> tuple[Rows, Rows]:
        """The rows before and after each, see `Neighbours.links`."""
        return self._neighbours.links()

    def at_s(self) -> Scores:
        """The time of each row, in seconds since 1970."""
        return np.array(self._at_s)

    def are_turns(self, rows: Rows) -> Flags:
        """Which of `rows` are turns."""
        turns: Flags = np.array(self._turns)[rows] == 1
        return turns

    def turns_of_others(self, person: str) -> Flags:
        """Which turns are known to be said by others than `person`."""
        speakers = np.array(self._speakers)
        names = self.own_names if person in self.own_names else (person,)
        same = [self._people[name] for name in names if name in self._people]
        others: Flags = (speakers != NOBODY) & ~np.isin(speakers, same)
        return others
