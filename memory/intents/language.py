"""What a language brings for detecting intents (`detector`) and for telling what they are about (`matching`).

Patterns are matched with a whole sentence, without its mark, ignoring case. The group `clause` is a statement ("I live
in Porto"), `about` a thing or a person ("my sister"); a pattern with neither points at what was said before.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import regex

from memory.unicode_text import nfc

Action = Literal["remember", "forget", "forget_all", "mute", "lift", "undo", "unsure"]
ORDER: tuple[Action, ...] = ("remember", "forget_all", "forget", "mute", "lift", "undo", "unsure")
# A thing that is named: within one part of a sentence, and short.
THING = r"(?P<about>\S[^,;:\"]{0,80}?)"


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """The words that say of whom a sentence is, and whether it holds. In lower case.

    `own`: the speaker; `addressed`: whom they speak to; `third`: pronouns for anybody else; `others`: nouns for them,
    such as relatives; `possessive`: the speaker's ("my"); `foreign`: somebody else's ("her"); `negations`, also of what
    is over; `breaks`: between two statements; `namesakes`: names that are also words; `before_month`: tells the month
    from the name; `openers`: begin a sentence in capitals without being a name; `is_gendered`: nouns of one stem differ
    by their last vowel.
    """

    own: frozenset[str]
    addressed: frozenset[str]
    third: frozenset[str]
    others: frozenset[str]
    possessive: frozenset[str]
    foreign: frozenset[str]
    negations: frozenset[str]
    breaks: frozenset[str] = frozenset()
    namesakes: frozenset[str] = frozenset()
    before_month: frozenset[str] = frozenset()
    openers: frozenset[str] = frozenset()
    is_gendered: bool = False


@dataclass(frozen=True, kw_only=True)
class IntentLanguage:
    """The patterns of a language.

    Attributes:
        code: of the language.
        trigger: what every intent contains; a message without it is not looked at.
        begin: what may stand before an order; `politely`: the same with a request as a question; `wanting`: as a wish.
        patterns: by action.
        polite: the beginning of a question that is a request.
        pasted: words that make the text around them somebody else's.
        pointing: a beginning of `about` that names nothing.
        temporary: in what is to be muted: not for good.
        hint: sounds like a request to forget, even if no pattern understands it.

    """

    code: str
    trigger: str
    patterns: dict[Action, tuple[str, ...]]
    polite: str
    pasted: str
    pointing: str
    temporary: str
    hint: str
    meaning: Meaning

    @cached_property
    def is_triggered(self) -> regex.Pattern[str]:
        """Finds the trigger."""
        return _compiled(self.trigger)

    @cached_property
    def compiled(self) -> tuple[tuple[Action, regex.Pattern[str]], ...]:
        """The patterns, in the order in which they are tried."""
        return tuple((action, _compiled(each)) for action in ORDER for each in self.patterns.get(action, ()))

    @cached_property
    def is_polite(self) -> regex.Pattern[str]:
        """Finds a request at the beginning of a question."""
        return _compiled(self.polite)

    @cached_property
    def is_pasted(self) -> regex.Pattern[str]:
        """Finds words around somebody else's."""
        return _compiled(self.pasted)

    @cached_property
    def points(self) -> regex.Pattern[str]:
        """Finds words that name nothing."""
        return _compiled(self.pointing)

    @cached_property
    def is_temporary(self) -> regex.Pattern[str]:
        """Finds what limits a wish."""
        return _compiled(self.temporary)

    @cached_property
    def is_hinted(self) -> regex.Pattern[str]:
        """Finds what sounds like an intent."""
        return _compiled(self.hint)


def words(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(nfc(text).split())


def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(nfc(pattern), regex.IGNORECASE)
