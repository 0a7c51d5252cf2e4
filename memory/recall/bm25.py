"""BM25 over a person's items, one term at a time, and cheap to add to.

A term t that occurs f times in an item of l terms scores
idf(t) · f · (k1 + 1) / (f + k1 · (1 - b + b · l / average l)), with
idf(t) = ln(1 + (N - n(t) + 0.5) / (n(t) + 0.5)) for n(t) of N items (Robertson & Zaragoza, "The Probabilistic Relevance
Framework", 2009; the idf is Lucene's). k1 and b are those in use for short passages (Anserini's defaults).

Only counts are kept, and the formula is applied to the few terms of a question when it is asked. So adding an item
costs its own terms and nothing is rebuilt; and the caller gets each term's scores, which it needs to look around an
item (`memory.recall.context_windows`). Libraries keep finished scores instead: `bm25s`, to which the tests compare
this, is built anew after every change, a second for 20,000 items, and brings numba along. The language is English: its
stop words, and Snowball's stemmer.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from functools import reduce

import numpy as np
import numpy.typing as npt
import regex
import Stemmer

from memory.unicode_text import nfc

K1 = 0.9
B = 0.4
# Words of grammar. What remains of a question is what it is about.
_GRAMMAR = """
a about above after again against all am an and any are as at be because been before being below between both but
by can could d did do does doing down during each few for from further had has have having he her here hers herself
him himself his how i if in into is it its itself just ll m may me might more most must my myself no nor not now of
off on once only or other our ours ourselves out over own re s same shall she should so some such t than that the
their theirs them themselves then there these they this those through to too under until up ve very was we were
what when where which while who whom whose why will with would you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_GRAMMAR.split())
_ASCII_WORD = re.compile(r"[^\W_]+")
# Python's \w leaves out combining marks, which are vowels in most scripts of India: a word would be several.
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}\u200c\u200d]*")
_JOINERS = str.maketrans("", "", "\u200c\u200d")  # they change how a word is drawn
_MAX_COMPOSED = 64  # characters of a word; normalising a long run of marks takes its square

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


class Terms:
    """Cuts text into terms: words in lower case, without words of grammar, stemmed. Not to be shared by threads."""

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english")

    def __call__(self, text: str) -> list[str]:
        """The terms of `text`, in order."""
        words = [word for word in words_of(text.lower()) if word not in STOP_WORDS]
        return self._stemmer.stemWords(words)  # type: ignore[no-any-return]  # an untyped library


def words_of(text: str) -> list[str]:
    """The words of a text: letters and digits, each with the combining marks that belong to it, composed (NFC)."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return [_composed(word) for word in _WORD.findall(text)]


def _composed(word: str) -> str:
    if word.isascii() or len(word) > _MAX_COMPOSED:
        return word
    return nfc(word.translate(_JOINERS))


class LexicalIndex:
    """The counts of terms in items, which are numbered from 0 as they are added."""

    def __init__(self, *, k1: float = K1, b: float = B) -> None:
        self._k1, self._b = k1, b
        self._terms = Terms()
        self._postings: dict[str, array[int]] = {}  # an item and the term's count there, in turn
        self._lengths = array("i")
        self._total = 0
        self._counts = 0

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def size_bytes(self) -> int:
        """About what it holds in memory."""
        return (
            8 * self._counts + 4 * len(self._lengths) + 250 * len(self._postings)
        )  # 250: an array, an entry, the term

    def add(self, text: str) -> int:
        """Take in the next item; its number."""
        row = len(self._lengths)
        terms = self._terms(text)
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
        """The items that have every term of `text`, ascending; none when it has no terms."""
        found = [np.array(self._postings.get(term, ()), dtype=np.int64)[::2] for term in set(self._terms(text))]
        return reduce(np.intersect1d, found) if found else np.empty(0, dtype=np.int64)

    def by_term(self, text: str) -> Iterator[tuple[Rows, Scores]]:
        """For each term of `text` that occurs: the items that have it, ascending, and what it scores there."""
        size = len(self)
        lengths = np.array(self._lengths, dtype=np.float64) * size / max(self._total, 1)
        for term, weight in Counter(self._terms(text)).items():
            if term not in self._postings:
                continue
            rows, counts = np.array(self._postings[term], dtype=np.int64).reshape(-1, 2).T
            idf = np.log1p((size - len(rows) + 0.5) / (len(rows) + 0.5))
            damping = self._k1 * (1 - self._b + self._b * lengths[rows])
            yield rows, weight * idf * counts * (self._k1 + 1) / (counts + damping)
