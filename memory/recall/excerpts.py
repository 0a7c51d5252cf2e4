"""Cuts a long text to the part that a question is about, so that a turn beyond the prompt's budget is not left out.

It takes as many sentences as fit around the one with most words of the question; a single sentence that is too long is
cut. An ellipsis marks omissions.
"""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

import regex

from memory.language.terms import Terms

_SENTENCE = regex.compile(r"[^.!?\u2026\u0964\u3002\n]+[.!?\u2026\u0964\u3002\n]*\s*")
GAP = "\u2026"


def excerpt(text: str, question: str, max_tokens: int, count: Callable[[str], int], near: str | None = None) -> str:
    """The text, or as much of it around what the question is about as fits into `max_tokens`.

    `near` is a part of the text that is about it, in case that no word of the question occurs.
    """
    if count(text) <= max_tokens:
        return text
    terms = Terms()
    question_terms = set(terms(question))
    sentences = [str(each) for each in _SENTENCE.findall(text)] or [text]
    shares = [len(question_terms.intersection(terms(each))) for each in sentences]
    first = last = shares.index(max(shares)) if any(shares) or near is None else _sentence_at(sentences, text, near)
    best = sentences[first].strip()
    if count(best) > max_tokens:
        return _cut(best, max_tokens, count)
    while True:
        longer = [(first, last + 1), (first - 1, last)]
        fitting = [
            (begin, end)
            for begin, end in longer
            if begin >= 0 and end < len(sentences) and count(_joined(sentences, begin, end)) <= max_tokens
        ]
        if not fitting:
            return _joined(sentences, first, last)
        first, last = fitting[0]


def _sentence_at(sentences: list[str], text: str, near: str) -> int:
    ends = list(accumulate(map(len, sentences)))
    return min(bisect_right(ends, max(text.find(near), 0)), len(sentences) - 1)


def _joined(sentences: list[str], first: int, last: int) -> str:
    part = "".join(sentences[first : last + 1]).strip()
    return (GAP if first else "") + part + (GAP if last < len(sentences) - 1 else "")


def _cut(sentence: str, max_tokens: int, count: Callable[[str], int]) -> str:
    low, high = 0, len(sentence)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(sentence[:middle] + GAP) <= max_tokens else (low, middle - 1)
    return sentence[:low].rstrip() + GAP if low else ""
