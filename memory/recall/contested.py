"""What a memory says of a person that can only be one thing at a time: home, job, diet, relation.

Two memories with different values of one slot contradict each other, and nobody has said which holds: both are
*contested* and shown with their dates. By patterns of five languages, in the first and the third person; what they do
not know is in no slot. Values are compared by their words without case, accents and grammar.
"""

from dataclasses import dataclass
from typing import Literal

import regex

from memory.language.detection import language_of
from memory.language.scripts import words_of
from memory.language.stop_words import STOP_WORDS
from memory.unicode_text import nfc, without_accents
from storage.memory.people import PERSON

Slot = Literal["home", "job", "diet", "relation"]
_VALUE = r"(?P<value>[^.,;!?\u0964]{1,60})"
_DENIED = regex.compile(
    nfc(
        r"\b(?:not|n't|no longer|never|used to|nicht|kein\w*|nie|no|ya no|nunca)\b"
        r"|(?:^|\s)(?:नहीं|না|নেই|নয়)(?:\s|$)"
    ),
    regex.IGNORECASE,
)
_DIETS = (
    (r"\b(?:vegan|vegana|vegano|veganerin|veganer)\b|वीगन|ভেগান", "vegan"),
    (r"\b(?:vegetarian|vegetariana?|vegetariano|vegetarier(?:in)?|vegetarisch)\b|शाकाहारी|নিরামিষ", "vegetarian"),
    (r"\b(?:eats? (?:meat|fish)|loves? (?:meat|steak)|isst (?:fleisch|fisch)|come carne)\b|मांसाहारी|আমিষভোজী", "meat"),
)
_RELATIONS = (
    (
        r"\b(?:(?:is|am|got) single|ist single|bin single|est[aáo]y? solter[oa]|es solter[oa])\b|अविवाहित|অবিবাহিত",
        "single",
    ),
    (r"\b(?:divorced|geschieden|divorciad[oa])\b|तलाकशुदा|তালাকপ্রাপ্ত", "divorced"),
    (r"\b(?:widowed|verwitwet|viud[oa])\b|विधव|বিধবা", "widowed"),
    (r"\b(?:married|verheiratet|casad[oa])\b|शादीशुदा|विवाहित|বিবাহিত", "married"),
)
_VALUES: tuple[tuple[Slot, tuple[tuple[str, str], ...]], ...] = (("diet", _DIETS), ("relation", _RELATIONS))
_FREE: tuple[tuple[Slot, str], ...] = (
    ("home", rf"\b(?:lives?|living|resides?|moved) (?:now )?(?:in|to|at) {_VALUE}"),
    ("home", rf"\b(?:wohn(?:e|t)|leb(?:e|t)) (?:jetzt )?in {_VALUE}"),
    ("home", rf"\b(?:vivo|vive|viviendo|reside) (?:ahora )?en {_VALUE}"),
    ("home", rf"{_VALUE} में (?:रहत[ाीे]|रह रह[ाीे])"),
    ("home", rf"{_VALUE} (?:থাকি|থাকেন|থাকে)(?:\s|$)"),
    ("job", rf"\b(?:works?|working) (?:now )?(?:as|at|for) (?:an? |the )?{_VALUE}"),
    ("job", rf"\barbeite[t]? (?:jetzt )?(?:als|bei) {_VALUE}"),
    ("job", rf"\b(?:trabajo|trabaja) (?:ahora )?(?:como|en|para) {_VALUE}"),
    ("job", rf"{_VALUE} (?:के रूप में|में) काम करत[ाीे]"),
    ("job", rf"{_VALUE} (?:হিসেবে|হিসাবে) কাজ কর"),
)
_PATTERNS = tuple((slot, regex.compile(nfc(pattern), regex.IGNORECASE)) for slot, pattern in _FREE)
_CLOSED: tuple[tuple[Slot, tuple[tuple[regex.Pattern[str], str], ...]], ...] = tuple(
    (slot, tuple((regex.compile(nfc(pattern), regex.IGNORECASE), value) for pattern, value in values))
    for slot, values in _VALUES
)
_GRAMMAR = frozenset(("her", "his", "their", "my", "mein", "mi", "su", "i", "he", "she", "they", "user"))


@dataclass(frozen=True, slots=True)
class Claim:
    """A slot and its value."""

    slot: Slot
    value: str


def claim_of(text: str) -> Claim | None:
    """What a memory says of a slot; None if it is about none, or says what is not so."""
    text = nfc(text[:500])
    if _DENIED.search(text):
        return None
    for slot, values in _CLOSED:
        for pattern, value in values:
            if pattern.search(text):
                return Claim(slot, value)
    for slot, pattern in _PATTERNS:
        match = pattern.search(text)
        value = "" if match is None else _compared(match["value"], language_of(text))
        if value:
            return Claim(slot, value)
    return None


def _compared(value: str, language: str) -> str:
    words = words_of(value.casefold())
    grammar = STOP_WORDS.get(language, frozenset()) | _GRAMMAR
    return " ".join(without_accents(word) for word in words if word not in grammar)


class Claims:
    """The claims of one person's memories, by row."""

    def __init__(self) -> None:
        self._claims: dict[int, tuple[str, Claim]] = {}
        self._rows: dict[tuple[str, Slot], set[int]] = {}

    def take(self, row: int, speaker: str | None, text: str) -> None:
        """Take in a memory; whoever speaks as `user`, or as nobody, is the person."""
        claim = claim_of(text)
        if claim is not None and row not in self._claims:
            whose = (speaker or PERSON).casefold()
            self._claims[row] = whose, claim
            self._rows.setdefault((whose, claim.slot), set()).add(row)

    def rivals(self, row: int, name: str | None) -> list[int]:
        """The rows that say otherwise of the same; `name` is the person's own as a speaker."""
        if row not in self._claims:
            return []
        whose, claim = self._claims[row]
        own = {PERSON, (name or PERSON).casefold()}
        speakers = own if whose in own else {whose}
        others = sorted({each for speaker in speakers for each in self._rows.get((speaker, claim.slot), ())})
        return [each for each in others if self._claims[each][1].value != claim.value]
