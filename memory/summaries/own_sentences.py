"""A summary without a model: the sentences of the person that say most of what the conversation was about.

A word counts by the number of turns that have it, and less once a chosen sentence has it, as in maximal marginal
relevance (J. Carbonell and J. Goldstein, 1998). Nothing is reworded, so nothing can be wrong. The list of words of
grammar is English; elsewhere the choice is worse, and as true.
"""

import re
from collections import Counter
from collections.abc import Sequence
from math import log1p, sqrt

from memory.language.detection import language_of
from memory.language.scripts import words_of
from memory.language.stop_words import STOP_WORDS
from storage.memory.unread_turns import Turn

MAX_SENTENCES, MAX_CHARACTERS = 3, 160  # in a summary; of a sentence
MIN_WORDS = 2  # beside grammar, else a sentence says little
REPEATED = 0.2  # of what a word counts for when it is there already
_END = re.compile(r"(?<=[.!?।。…\uff01\uff1f])\s+|\n+")  # also of Bengali, Hindi, Chinese and Japanese


def summary_of(turns: Sequence[Turn], own: Sequence[Turn]) -> str | None:
    """When they talked, how long, and what the person said; None if they said nothing. `own`: the person's turns."""
    sentences = [(turn, part) for turn in own for part in _sentences(turn.text)]
    told = [each for each in sentences if not each[1].endswith("?")] or sentences
    if not told:
        return None
    quoted = " ".join(f"“{_cut(text)}”" for text in _chosen([text for _, text in told], own))
    first, last = turns[0].said_at, turns[-1].said_at
    days = f"{first:%Y-%m-%d}" if first.date() == last.date() else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"A conversation of {days}, {len(turns)} messages. They said: {quoted}"


def _sentences(text: str) -> list[str]:
    return [part for piece in _END.split(text.replace("\0", "")) if (part := " ".join(piece.split()))]


def _chosen(sentences: Sequence[str], own: Sequence[Turn]) -> list[str]:
    """The best few, in the order in which they were said."""
    weights = {word: log1p(count) for word, count in Counter(w for turn in own for w in _content(turn.text)).items()}
    words = {number: _content(text) for number, text in enumerate(sentences)}
    left = [number for number, each in words.items() if len(each) >= MIN_WORDS] or list(words)
    picked: list[int] = []
    while left and len(picked) < MAX_SENTENCES:
        best = max(left, key=lambda number: (_score(words[number], weights), -number))
        picked.append(best)
        left = [number for number in left if words[number] != words[best]]
        weights |= {word: weights[word] * REPEATED for word in words[best] if word in weights}
    return [sentences[number] for number in sorted(picked)]


def _score(words: frozenset[str], weights: dict[str, float]) -> float:
    return sum(weights.get(word, 0.0) for word in sorted(words)) / sqrt(len(words) + 1)


def _content(text: str) -> frozenset[str]:
    grammar = STOP_WORDS.get(language_of(text), frozenset())
    return frozenset(word for word in words_of(text.lower()) if word not in grammar)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS].rsplit(' ', 1)[0]} …"
