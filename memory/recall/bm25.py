"""BM25 over a person's items, one term at a time, and cheap to add to.

A term t that occurs f times in an item of l terms scores
idf(t) · f · (k1 + 1) / (f + k1 · (1 - b + b · l / average l)), with
idf(t) = ln(1 + (N - n(t) + 0.5) / (n(t) + 0.5)) for n(t) of N items (Robertson & Zaragoza, "The Probabilistic Relevance
Framework", 2009; the idf is Lucene's). k1 and b are those in use for short passages (Anserini's defaults).

It stores only counts, and applies the formula to the few terms of a question. So adding an item costs only its own
terms, and the caller gets the scores of each term, which `memory.recall.context_windows` needs. Libraries store final
scores instead: `bm25s`, with which the tests compare this module, must be rebuilt after every change (one second for
20,000 items) and requires numba. `memory.language.terms` makes the terms. A word of a question is searched by its stem
in each language of the items.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from memory.language.detection import ENGLISH
from memory.language.terms import Terms

K1 = 0.9
B = 0.4

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


class LexicalIndex:
    """The counts of terms in items, which are numbered from 0 as they are added."""

    def __init__(self, *, k1: float = K1, b: float = B) -> None:
        self._k1, self._b = k1, b
        self._terms = Terms()
        self._postings: dict[str, array[int]] = {}  # an item and the term's count there, in turn
        self._lengths = array("i")
        self._total = 0
        self._counts = 0
        self._languages: dict[str, None] = {ENGLISH: None}  # of items in Latin letters

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def size_bytes(self) -> int:
        """Its approximate size in memory, bytes."""
        return (
            8 * self._counts + 4 * len(self._lengths) + 250 * len(self._postings)
        )  # 250: an array, an entry, the term

    def add(self, text: str) -> int:
        """Add the next item; returns its number."""
        row = len(self._lengths)
        terms, language = self._terms.read(text)
        self._languages[language] = None
        counts = Counter(terms)
        for term, count in counts.items():
            postings = self._postings.get(term)
            if postings is None:
                postings = self._postings[term] = array("i")
            postings.extend((row, count))
        self._lengths.append(len(terms))
        self._total += len(terms)
        self._counts += len(counts)
        return row

    def holding(self, text: str) -> Rows:
        """The items that have every term of `text`, ascending; empty if `text` has no terms."""
        found = [self._found(variants)[0] for variants in set(self._terms.variants(text, self._languages))]
        return reduce(np.intersect1d, found) if found else np.empty(0, dtype=np.int64)

    def rows_for(self, text: str, *, is_name: bool) -> list[int]:
        """As `holding`; all items if `text` `is_name` without terms, because it is also a stop word."""
        if is_name and not self._terms.variants(text, self._languages):
            return list(range(len(self)))
        return [int(row) for row in self.holding(text)]

    def by_term(self, text: str) -> Iterator[tuple[Rows, Scores]]:
        """For each term of `text` that occurs: the items that have it, ascending, and its scores there."""
        size = len(self)
        lengths = np.array(self._lengths, dtype=np.float64) * size / max(self._total, 1)
        for variants, weight in Counter(self._terms.variants(text, self._languages)).items():
            rows, counts = self._found(variants)
            if not len(rows):
                continue
            idf = np.log1p((size - len(rows) + 0.5) / (len(rows) + 0.5))
            damping = self._k1 * (1 - self._b + self._b * lengths[rows])
            yield rows, weight * idf * counts * (self._k1 + 1) / (counts + damping)

    def weight_of(self, text: str) -> float:
        """What an item of average length scores that has every term of `text` once, also those that never occur."""
        size, total = len(self), 0.0
        for variants in set(self._terms.variants(text, self._languages)):
            items = len(self._found(variants)[0])
            total += float(np.log1p((size - items + 0.5) / (items + 0.5)))
        return total

    def _found(self, variants: Sequence[str]) -> tuple[Rows, Rows]:
        """The items with any of these terms, ascending, and how often each has them."""
        postings = [self._postings[term] for term in variants if term in self._postings]
        if not postings:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        rows, counts = np.concatenate([np.array(each, dtype=np.int64) for each in postings]).reshape(-1, 2).T
        if len(postings) > 1:
            rows, places = np.unique(rows, return_inverse=True)
            counts = np.bincount(places, weights=counts).astype(np.int64)
        return rows, counts
