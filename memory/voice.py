"""A question about a person, put in that person's own words: "When did Ann move?" becomes "When did I move?".

People speak of themselves in the first person, so the answer to a question about Ann is most often something that Ann
said about "I". Asked as it stands, an embedding of the question finds what has Ann's name in it, which is what others
said to her. Asked in her voice, and what others said counted for less (`memory.recall`), it finds the answer; this one
step is worth more than any other here (docs/recall.md). A question about two people is asked of each.

It knows names only as the speakers of the conversations; a name may be shortened to its first three letters or more
("Mel" for Melanie). The one who asks ("Where did I ...?") is a person too, when it is known who asks. English.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import regex

from memory.lexical import STOP_WORDS

SHORTEST = 3  # letters of a shortened name
_WORD = regex.compile(r"(?P<word>[\p{L}\p{N}][\p{L}\p{N}\p{M}]*)(?P<possessive>['\u2019]s?(?![\p{L}\p{N}]))?")
_FIRST_PERSON = re.compile(r"\b(I|me|my|mine|myself|i)\b")
_SECOND_PERSON = re.compile(r"\b(you|your|yours|yourself)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Voice:
    """A question as `person` would put it; of nobody in particular when None."""

    text: str
    person: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the voices to put it in: at least one, and more when it is about several people."""

    question: str
    voices: tuple[Voice, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """What needs an embedding: the question as it stands, and then in each voice that differs from it."""
        return tuple(dict.fromkeys((self.question, *(voice.text for voice in self.voices))))


def put(question: str, people: Iterable[str], *, asker: str | None = None) -> Asked:
    """Put a question in the voices of those whom it names.

    Args:
        question: as asked.
        people: the speakers of the conversations, by name.
        asker: the speaker who asks now, if that is known.

    """
    named = _named(question, tuple(people))
    if named:
        return Asked(question, tuple(Voice(_in_voice(question, words), person) for person, words in named.items()))
    about_asker = _FIRST_PERSON.search(question) is not None and _SECOND_PERSON.search(question) is None
    return Asked(question, (Voice(question, asker if about_asker else None),))


def _named(question: str, people: tuple[str, ...]) -> dict[str, set[str]]:
    """Whom it names, and by which words, in lower case."""
    found: dict[str, set[str]] = {}
    for word in dict.fromkeys(match["word"] for match in _WORD.finditer(question)):
        for person in _whose(word, people):
            found.setdefault(person, set()).add(word.lower())
    return found


def _whose(word: str, people: tuple[str, ...]) -> Iterator[str]:
    lowered = word.lower()
    if lowered in STOP_WORDS and not word[0].isupper():
        return  # "will", not Will
    firsts = {person: person.lower().split()[0] for person in people if person.strip()}
    exact = [person for person, first in firsts.items() if first == lowered]
    if exact or len(word) < SHORTEST or not word[0].isupper() or lowered in STOP_WORDS:
        yield from exact
        return
    short = [person for person, first in firsts.items() if first.startswith(lowered)]
    if len(short) == 1:
        yield short[0]


def _in_voice(question: str, words: set[str]) -> str:
    def replace(match: regex.Match[str]) -> str:
        if match["word"].lower() not in words:
            return str(match[0])
        return "my" if match["possessive"] else "I"

    return str(_WORD.sub(replace, question))
