"""Removes duplicates from the results of recall, so that a repeated statement takes one line of a prompt.

Two texts are duplicates if at least nine tenths of their words are the same, with the same contrast terms (numbers,
names, negations: `memory.contrast_terms`). The better one stays.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from memory.contrast_terms import contrast_terms
from memory.language.scripts import words_of

SHARE = 0.9
LONG = 8  # words, from which on a few may differ
Item = TypeVar("Item")


def without_duplicates(found: Iterable[Item], text_of: Callable[[Item], str]) -> Iterator[Item]:
    """The items without duplicates of earlier ones, in order."""
    seen: list[tuple[frozenset[str], str]] = []
    for each in found:
        text = text_of(each)
        words = frozenset(words_of(text.casefold()))
        if not any(_is_same(words, text, *other) for other in seen):
            seen.append((words, text))
            yield each


def _is_same(words: frozenset[str], text: str, other_words: frozenset[str], other: str) -> bool:
    if words == other_words:
        return words_of(text.casefold()) == words_of(other.casefold())
    if min(len(words), len(other_words)) < LONG:
        return False
    share = len(words & other_words) / len(words | other_words)
    return share >= SHARE and contrast_terms(text) == contrast_terms(other)
