"""Reads a person's opinion of a recommendation from their words."""

import re
from dataclasses import dataclass

from agents.ranking.positions import pointed_of

_NEVER = re.compile(
    r"\bnever\b|\bnot\b.{0,30}\bagain\b|\bblock\b|\bstop (?:playing|showing)\b|\bhate\b|\bcan'?t stand\b"
)
_NO = re.compile(
    r"\b(?:don'?t|do not|didn'?t|not)\b.{0,12}\b(?:like|love|enjoy|want)\b|\bdislike\b|\bskip(?:ped)?\b|\bnot for me\b|"
    r"\bboring\b|\bmeh\b|👎"
)
_YES = re.compile(r"\b(?:like|love|loved|liked|enjoy(?:ed)?|great|perfect|nice|favou?rite|more of)\b|👍|❤")
_PLAYED = re.compile(r"\b(?:played|listened|heard)\b")
_SURE = re.compile(
    r"^\s*(?:(?:i|we)\s+)?(?:really |just )?(?:like|love(?! songs?\b)|loved|liked|enjoyed?|dislike|hate|skip(?:ped)?|"
    r"played|block|never|not (?:this|that|it|these|them|the \w+|#?\d+)|don'?t|do not|didn'?t|can'?t stand|"
    r"stop (?:playing|showing)|listened to|more of)\b"
    r"|^\s*[👍👎]|\b(?:is|was|are|were) (?:great|perfect|boring|meh|nice|my favou?rite)\b|\bnot for me\b",
    re.IGNORECASE,
)
_REQUESTS = re.compile(r"\b(?:would|i'?d|want to|to)\s+(?:like|love)\b|\b(?:like|love) (?:a|some|to)\b", re.IGNORECASE)
_TALK = re.compile(
    r"\s*(?:hi|hello|hey|thanks?|thank you|bye|ok(?:ay)?|cool|great)\b[\w ]{0,20}[.!]*\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """From -1 to 1; `never`: not to be shown again."""

    reward: float
    never: bool = False


def is_rating(text: str) -> bool:
    """Whether a message clearly states an opinion rather than a request."""
    return pointed_of(text) is not None or (bool(_SURE.search(text)) and not _REQUESTS.search(text))


def verdict_of(text: str) -> Verdict | None:
    """The opinion; None if the message states none."""
    pointed = pointed_of(text)
    if pointed is not None:
        return Verdict(pointed.reward, pointed.never)
    folded = text.casefold()
    if _NEVER.search(folded):
        return Verdict(-1.0, never=True)
    if _NO.search(folded):
        return Verdict(-0.7)
    if _YES.search(folded):
        return Verdict(1.0)
    return Verdict(0.3) if _PLAYED.search(folded) else None


def is_small_talk(text: str) -> bool:
    """Whether it is only a greeting, thanks or a goodbye."""
    return _TALK.fullmatch(text) is not None
