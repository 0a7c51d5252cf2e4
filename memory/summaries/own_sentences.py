"""A summary without a model: the person's sentences that cover most of the conversation.

A word counts by the number of turns that have it, and less once a chosen sentence has it, as in maximal marginal
relevance (J. Carbonell and J. Goldstein, 1998). Nothing is reworded, so nothing can be wrong. The stop words are
English; for other languages the choice is worse, but still true.
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
    """The date, the length and the person's main sentences; None if they said nothing. `own`: the person's turns."""
    sentences = [(turn, part) for turn in own for part in _sentences(turn.text)]
    statements = [each for each in sentences if not each[1].endswith("?")] or sentences
    if not statements:
        return None
    quoted = " ".join(f"“{_cut(text)}”" for text in _chosen([text for _, text in statements], own))
    first, last = turns[0].said_at, turns[-1].said_at
    days = f"{first:%Y-%m-%d}" if first.date() == last.date() else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"A conversation of {days}, {len(turns)} messages. They said: {quoted}"


def _sentences(text: str) -> list[str]:
    return [part for piece in _END.split(text.replace("\0", "")) if (part := " ".join(piece.split()))]


def _chosen(sentences: Sequence[str], own: Sequence[Turn]) -> list[str]:
    """The best few, in their original order."""
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
