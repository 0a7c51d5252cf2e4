"""Cuts a long text to the part that a question is about, so that a turn beyond the prompt's budget is not left out.

It takes as many sentences as fit around the one with most words of the question; a single sentence that is too long is
cut. An ellipsis marks omissions.
"""

from collections.abc import Callable

import regex

from memory.language.terms import Terms

_SENTENCE = regex.compile(r"[^.!?\u2026\u0964\u3002\n]+[.!?\u2026\u0964\u3002\n]*\s*")
GAP = "\u2026"


def excerpt(text: str, question: str, max_tokens: int, count: Callable[[str], int]) -> str:
    """The text, or the part around the question's words that fits into `max_tokens`."""
    if count(text) <= max_tokens:
        return text
    terms = Terms()
    question_terms = set(terms(question))
    sentences = [str(each) for each in _SENTENCE.findall(text)] or [text]
    shares = [len(question_terms.intersection(terms(each))) for each in sentences]
    first = last = shares.index(max(shares))
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


def _joined(sentences: list[str], first: int, last: int) -> str:
    part = "".join(sentences[first : last + 1]).strip()
    return (GAP if first else "") + part + (GAP if last < len(sentences) - 1 else "")


def _cut(sentence: str, max_tokens: int, count: Callable[[str], int]) -> str:
    low, high = 0, len(sentence)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(sentence[:middle] + GAP) <= max_tokens else (low, middle - 1)
    return sentence[:low].rstrip() + GAP if low else ""
