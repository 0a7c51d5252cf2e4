"""Compares a text with an answer, ignoring case, accents and articles, and allowing a typo in long words."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from memory.unicode_text import without_accents

MIN_FUZZY = 6  # characters from which a slip is overlooked
SIMILAR = 0.85
_ARTICLES = re.compile(r"^(?:the|a|an)\s+")
_FRAMES = re.compile(
    r"^(?:(?:i think|i guess|maybe|perhaps|probably|is it|it is|it s|its|was it|my answer is|answer)\b[\s:,]*)+"
)
YES = re.compile(r"^(?:y|yes+|yeah|yep|yup|sure|of course|correct|right|true|haan|ha|hyan|হ্যাঁ|हाँ|हां)\b", re.IGNORECASE)
NO = re.compile(r"^(?:n|no+|nope|nah|never|wrong|false|na|nahin|না|नहीं)(?:\W|$)", re.IGNORECASE)
UNSURE = re.compile(
    r"^(?:maybe|sometimes|perhaps|it depends|depends|kind of|sort of|partly|i don'?t know|dunno|not sure|unsure|\?)",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """The text in lower case, without accents, punctuation, a leading article."""
    letters = without_accents(text.casefold())
    words = " ".join(re.sub(r"[^\w./+-]+", " ", letters).split()).strip(" .")
    return _ARTICLES.sub("", words)


def without_frame(text: str) -> str:
    """What is left of "I think it is a cat" in plain words."""
    return _ARTICLES.sub("", _FRAMES.sub("", plain(text)).strip())


def is_answer(text: str, accepted: Iterable[str]) -> bool:
    """Whether it is one of the accepted answers. Numbers and short words must be exact."""
    candidates = {plain(text), without_frame(text)}
    for answer in map(plain, accepted):
        for each in candidates:
            if each == answer:
                return True
            is_long = len(answer) >= MIN_FUZZY and not any(map(str.isdigit, answer))
            if is_long and SequenceMatcher(None, each, answer, autojunk=False).ratio() >= SIMILAR:
                return True
    return False
