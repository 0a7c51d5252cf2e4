"""Everything of one person's that recall ranks, as rows: turns of conversations, and memories drawn from them.

Rows are numbered from 0 as items are added; the vector indexes beside it (`memory.recall.ranking.VectorSearch`) count
the same way. Turns of a conversation come in their order. Nothing is ever taken out: after a deletion it is built
again. One thread at a time.
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

    `at` is when it was said, or when what a memory tells of happened; `speaker` who said it, or whom a memory is of;
    `conversation` what its neighbours share, None for a memory.
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
        self._speakers = array("i")
        self._at_s = array("d")
        self._turns = array("b")
        self._characters = 0

    def __len__(self) -> int:
        return len(self.items)

    def add(self, item: Item) -> int:
        """Take in an item; its row."""
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
        """Who has spoken."""
        return tuple(self._people)

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory, without vectors."""
        return self.lexical.size_bytes + self._characters + ITEM_BYTES * len(self.items)

    def window(self, row: int) -> str:
        """The text whose embedding stands for a turn among its neighbours; a memory's is its own.

        The next turn of the conversation changes it.
        """
        around = (self.items[each] for each in self._neighbours.around(row))
        return window_text((item.speaker, item.text) for item in around)

    def links(self) -> tuple[Rows, Rows]:
        """The rows before and after each, see `Neighbours.links`."""
        return self._neighbours.links()

    def at_s(self) -> Scores:
        """When each was, in seconds since 1970."""
        return np.array(self._at_s)

    def are_turns(self, rows: Rows) -> Flags:
        """Which of `rows` are turns."""
        turns: Flags = np.array(self._turns)[rows] == 1
        return turns

    def turns_of_others(self, person: str) -> Flags:
        """Which are known to be somebody else's than `person`'s."""
        speakers = np.array(self._speakers)
        others: Flags = (speakers != NOBODY) & (speakers != self._people.get(person, NOBODY))
        return others
