"""Phrases of words, found in one pass over a text's words, without regular expressions.

A phrase is written as words; `kill*` is any ending, `(my|own)` one of several, `(so |)` one or none, `_` a number, `..`
up to three words of any kind. Phrases stand in a tree by their words, so that what begins alike is read once; a gap is
bounded, so what a text costs grows with its length alone.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agents.safety.detection.words import folded

GAP = ".."
MAX_GAP = 3
MAX_PREFIX = 32
NUMBER = "_"


class Match(NamedTuple):
    """Where a phrase stands: words `start` to before `end`, and the name that it was added under."""

    start: int
    end: int
    name: str


@dataclass(slots=True)
class _Node:
    words: dict[str, "_Node"] = field(default_factory=dict)
    prefixes: dict[str, "_Node"] = field(default_factory=dict)
    lengths: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of the prefixes by first letter, ascending
    gap: "_Node | None" = None
    names: set[str] = field(default_factory=set)


class Phrases:
    """Phrases added under names; raises ValueError for one that could match anything."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, name: str, written: Iterable[str]) -> None:
        """Add phrases under a name."""
        for phrase in itertools.chain.from_iterable(expand(each) for each in written):
            if not phrase or phrase[0] in (GAP, "*") or phrase[-1] in (GAP, "*"):
                raise ValueError(f"{name}: a phrase begins and ends with a word: {' '.join(phrase)!r}")
            node = self._root
            for part in phrase:
                node = _child(node, part)
            node.names.add(name)

    def matches(self, words: Sequence[str]) -> list[Match]:
        """Every phrase that occurs in these words."""
        found: list[Match] = []
        for start, word in enumerate(words):
            beginnings = _following(self._root, word)
            if not beginnings:
                continue
            seen: set[tuple[int, int]] = set()
            ends: list[tuple[_Node, int]] = []
            for node in beginnings:
                _walk(node, words, start + 1, seen, ends)
            found += [Match(start, end, name) for node, end in ends for name in node.names]
        return found


def expand(written: str) -> Iterator[tuple[str, ...]]:
    """Every way to read a phrase, as words; raises ValueError for a bracket that is not closed, or within another."""
    for text in alternatives(folded(written)):
        yield tuple(text.split())


def alternatives(written: str) -> Iterator[str]:
    """All variants of a text that contains `(a|b)`."""
    parts: list[list[str]] = []
    rest = written
    while rest:
        before, bracket, rest = rest.partition("(")
        parts.append([before])
        if bracket:
            inside, closing, rest = rest.partition(")")
            if not closing or "(" in inside:
                raise ValueError(f"a bracket is not closed, or within another: {written!r}")
            parts.append(inside.split("|"))
    for chosen in itertools.product(*parts):
        yield "".join(chosen)


def _child(node: _Node, part: str) -> _Node:
    if part == GAP:
        node.gap = node.gap or _Node()
        return node.gap
    if part.endswith("*"):
        prefix = part[:-1]
        if 0 < len(prefix) <= MAX_PREFIX:
            node.lengths[prefix[0]] = tuple(sorted({*node.lengths.get(prefix[0], ()), len(prefix)}))
        return node.prefixes.setdefault(prefix, _Node())
    return node.words.setdefault(part, _Node())


def _walk(
    node: _Node, words: Sequence[str], at: int, seen: set[tuple[int, int]], ends: list[tuple[_Node, int]]
) -> None:
    """Add the ends of phrases that go on at this node and word; no node is visited twice for one word."""
    if (id(node), at) in seen:
        return
    seen.add((id(node), at))
    if node.names:
        ends.append((node, at))
    if node.gap is not None:
        for skip in range(min(MAX_GAP + 1, len(words) - at)):
            _walk(node.gap, words, at + skip, seen, ends)
    if at < len(words):
        for following in _following(node, words[at]):
            _walk(following, words, at + 1, seen, ends)


def _following(node: _Node, word: str) -> Sequence[_Node]:
    lengths = node.lengths.get(word[0], ())
    exact = node.words.get(word)
    if exact is None and not lengths and not word.isdecimal():  # as for most words
        return ()
    following = [] if exact is None else [exact]
    if NUMBER in node.words and word.isdecimal():
        following.append(node.words[NUMBER])
    for length in lengths:
        if length > len(word):
            break
        if (begun := node.prefixes.get(word[:length])) is not None:
            following.append(begun)
    return following
