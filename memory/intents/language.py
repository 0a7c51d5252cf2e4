"""The patterns of a language for detecting intents (`detector`), and its words for matching them (`matching`).

Patterns match a whole sentence without its final mark, ignoring case. The group `clause` is a statement ("I live in
Porto"), `about` a thing or a person ("my sister"); a pattern with neither refers to an earlier message.
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
    """The words that show whom a sentence is about, and whether it is negated; in lower case.

    `own`: the speaker ("I"); `addressed`: the person spoken to ("you"); `third`: pronouns for others; `others`: nouns
    for others, such as relatives; `possessive`: "my"; `foreign`: possessives of others ("her"); `negations`, including
    those of the past ("no longer"); `breaks`: separate two statements; `namesakes`: names that are also words;
    `before_month`: show that such a word is a month; `openers`: capitalised at the start of a sentence without being a
    name; `is_gendered`: nouns of the same stem differ by their last vowel.
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
        trigger: part of every intent; a message without it is not examined.
        begin: may come before an order; `politely`: the same for a question; `wanting`: for a wish.
        patterns: by action.
        polite: the beginning of a question that is a request.
        pasted: words that mark the text around them as quoted.
        pointing: a beginning of `about` that names nothing ("that").
        temporary: limits a request to mute in time.
        hint: sounds like a request to forget, even if no pattern matches.

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
        """Finds signs of quoted text."""
        return _compiled(self.pasted)

    @cached_property
    def points(self) -> regex.Pattern[str]:
        """Finds words that name nothing."""
        return _compiled(self.pointing)

    @cached_property
    def is_temporary(self) -> regex.Pattern[str]:
        """Finds a limit in time."""
        return _compiled(self.temporary)

    @cached_property
    def is_hinted(self) -> regex.Pattern[str]:
        """Finds a possible request to forget."""
        return _compiled(self.hint)


def words(text: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(nfc(text).split())


def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(nfc(pattern), regex.IGNORECASE)
