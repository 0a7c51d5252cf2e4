"""Rewrites a question about a person in that person's own words: "When did Ann move?" becomes "When did I move?".

People speak of themselves in the first person, so the answer to a question about Ann is usually something that Ann said
about "I". The embedding of the original question finds turns with Ann's name, which are what others said to her. The
embedding of the rewritten question, together with a lower weight for others' words (`memory.recall.ranking`), finds the
answer. No other step here is worth as much (docs/recall.md). A question about two people is rewritten for each.

The module knows only the names of speakers in the conversations. A name may be shortened to its first three letters or
more ("Mel" for Melanie). If the speaker is known, "I" in the question ("Where did I ...?") means them. English only.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import regex

from memory.language.stop_words import STOP_WORDS

SHORTEST = 3  # letters of a shortened name
_WORD = regex.compile(r"(?P<word>[\p{L}\p{N}][\p{L}\p{N}\p{M}]*)(?P<possessive>['\u2019]s?(?![\p{L}\p{N}]))?")
_FIRST_PERSON = re.compile(r"\b(I|me|my|mine|myself|i)\b")
_OWN = re.compile(r"\b(I|my|mine|myself|i)\b")  # not "Tell me ...?"
_KIN = re.compile(  # of whom others tell as well: "my mother's operation"
    r"\bmy\s{1,9}(?:mother|mum|mom|father|dad|parents|sister|brother|son|daughter|children|kids|wife|husband|partner"
    r"|girlfriend|boyfriend|friend|aunt|uncle|cousin|niece|nephew|grandmother|grandma|grandfather|grandpa|family)\b"
)
_SECOND_PERSON = re.compile(r"\b(you|your|yours|yourself)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Phrasing:
    """A question in the words of `person`; None: the question unchanged."""

    text: str
    person: str | None


@dataclass(frozen=True, slots=True)
class RewrittenQuestion:
    """A question and its phrasings: at least one, and several if it is about several people.

    `names_somebody`: somebody who has spoken, or the asker ("When did I ...?"; not "I have nothing to do").
    """

    question: str
    phrasings: tuple[Phrasing, ...]
    names_somebody: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to embed: the original question, then each phrasing that differs from it."""
        return tuple(dict.fromkeys((self.question, *(phrasing.text for phrasing in self.phrasings))))


def rewrite(question: str, people: Iterable[str], *, speaker: str | None = None) -> RewrittenQuestion:
    """Rewrite a question in the words of each person that it names.

    Args:
        question: in the words of the person who asks.
        people: the names of the conversations' speakers.
        speaker: the name of the person who asks, if known.

    """
    named = _named(question, tuple(people))
    if named:
        return RewrittenQuestion(
            question,
            tuple(Phrasing(_in_words_of(question, words), person) for person, words in named.items()),
            names_somebody=True,
        )
    of_speaker = _FIRST_PERSON.search(_KIN.sub("", question)) is not None
    about_speaker = of_speaker and _SECOND_PERSON.search(question) is None
    phrasing = Phrasing(question, speaker if about_speaker else None)
    is_own = _OWN.search(question) is not None and "?" in question
    return RewrittenQuestion(question, (phrasing,), names_somebody=is_own)


def _named(question: str, people: tuple[str, ...]) -> dict[str, set[str]]:
    """The people that the question names, and the words that name them, in lower case."""
    found: dict[str, set[str]] = {}
    for word in dict.fromkeys(match["word"] for match in _WORD.finditer(question)):
        for person in _whose(word, people):
            found.setdefault(person, set()).add(word.lower())
    return found


def _whose(word: str, people: tuple[str, ...]) -> Iterator[str]:
    lowered = word.lower()
    if lowered in STOP_WORDS["en"] and not word[0].isupper():
        return  # "will", not Will
    firsts = {person: person.lower().split()[0] for person in people if person.strip()}
    exact = [person for person, first in firsts.items() if first == lowered]
    if exact or len(word) < SHORTEST or not word[0].isupper() or lowered in STOP_WORDS["en"]:
        yield from exact
        return
    short = [person for person, first in firsts.items() if first.startswith(lowered)]
    if len(short) == 1:
        yield short[0]


def _in_words_of(question: str, words: set[str]) -> str:
    def replace(match: regex.Match[str]) -> str:
        if match["word"].lower() not in words:
            return str(match[0])
        return "my" if match["possessive"] else "I"

    return str(_WORD.sub(replace, question))
