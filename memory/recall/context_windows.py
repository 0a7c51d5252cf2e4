"""The context of a turn. People do not repeat themselves: "I adopted one" refers to words of another turn.

It is used in two ways. The text of a window, the turn with its neighbours, gets its own embedding. And a term of a
question scores for a turn by its nearest mention, halved with every turn of distance: weak mentions do not add up, so a
long talk around a topic does not hide the turn that matters.
"""

from array import array
from collections.abc import Iterable

import numpy as np

from memory.recall.bm25 import Rows, Scores

REACH = 3  # turns; at one eighth, a mention four turns away would hardly count
DECAY = 0.5
NONE = -1


class Neighbours:
    """The previous and next turn of each turn, by number, within a conversation."""

    def __init__(self) -> None:
        self._before = array("q")
        self._after = array("q")
        self._last: dict[str, int] = {}

    def add(self, conversation: str | None) -> int:
        """Add the next item; returns its number. Turns of a conversation come in order; None: no conversation."""
        row = len(self._before)
        before = NONE if conversation is None else self._last.get(conversation, NONE)
        if before != NONE:
            self._after[before] = row
        if conversation is not None:
            self._last[conversation] = row
        self._before.append(before)
        self._after.append(NONE)
        return row

    def around(self, row: int, reach: int = 1) -> list[int]:
        """The numbers of a turn and of up to `reach` turns on each side, in order."""
        found = [row]
        for _ in range(reach):
            found[:0] = [self._before[found[0]]] if self._before[found[0]] != NONE else []
            found += [self._after[found[-1]]] if self._after[found[-1]] != NONE else []
        return found

    def links(self) -> tuple[Rows, Rows]:
        """For every item the numbers before and after it, or `NONE`."""
        return np.array(self._before, dtype=np.int64), np.array(self._after, dtype=np.int64)


def window_text(turns: Iterable[tuple[str | None, str]]) -> str:
    """The text to embed for a window, from (speaker, text) of its turns."""
    return "\n".join(f"{speaker}: {text}" if speaker else text for speaker, text in turns)


def nearest_mentions(terms: Iterable[tuple[Rows, Scores]], links: tuple[Rows, Rows]) -> Scores:
    """Sum over terms of the best mention within `REACH` of each item; see `LexicalIndex.by_term`."""
    total = np.zeros(len(links[0]))
    for rows, scores in terms:
        best = np.zeros(len(total))
        best[rows] = scores
        for link in links:
            _pass_on(best, rows, scores, link)
        total += best
    return total


def _pass_on(best: Scores, rows: Rows, scores: Scores, link: Rows) -> None:
    for _ in range(REACH):
        there = link[rows]
        goes_on = there != NONE
        rows, scores = there[goes_on], scores[goes_on] * DECAY
        best[rows] = np.maximum(best[rows], scores)  # a link leads to each item from one side only: no row twice
