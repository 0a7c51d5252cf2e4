"""Decides whether a text says what an intent is about: the same words, about the same person, and not denied.

The lexical index has found the words; this is the closer look. "My sister likes coffee" and "I no longer like coffee"
do not say "I like coffee"; "her job" is not "my job"; a name that is also a word (Will, May) matches only as a name. It
uses the words of the intent's language (`memory.intents.language.Meaning`) without grammar, and prefers to miss a text
rather than to match a wrong one.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Literal

import regex

from memory.intents.detector import LANGUAGES
from memory.language.scripts import script_of
from memory.language.terms import Terms
from memory.unicode_text import nfc, without_accents

Source = Literal["own", "other", "memory"]
_BY_CODE = {each.code: each for each in LANGUAGES}
_SENTENCES = regex.compile(r"[.!?;:\u2026\u0964\u0965\n]+")
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}\u200c\u200d]*(?:['\u2019]\p{L}+)?")
_MONTHS = frozenset({"may", "june", "april", "august", "march"})


class Matcher:
    """Looks closer at texts that have all words of an intent.

    Args:
        about: the words of the intent.
        is_clause: whether they are a statement.
        language: its code.
        names: the person's names.

    """

    def __init__(self, about: str, *, is_clause: bool, language: str, names: Collection[str]) -> None:
        meaning = self._meaning = _BY_CODE[language].meaning
        self._is_clause = is_clause
        self._terms = Terms()
        self._language = language
        self._wanted = [set(each) for each in self._terms.variants(about, (language,))]
        words = _words(nfc(about))
        folded = [_folded(word) for word in words]
        namesakes = [word for word in words if _folded(word) in meaning.namesakes]
        self.names = frozenset(word for word in namesakes if not word.islower())
        self._plain = frozenset(word for word in namesakes if word.islower())
        self._accented = {term for word in words if _is_accented(word) for term in self._terms_of(word)}
        self._endings = {} if is_clause or not meaning.is_gendered else _endings(words, self._terms_of)
        self._is_denied = self._denies(folded)
        self._is_mine = bool(folded) and folded[0] in meaning.possessive
        is_of_others = not meaning.own.intersection(folded) and (
            folded[:1] and folded[0] in meaning.possessive | meaning.foreign | meaning.third | meaning.others
        )
        starts_with_name = words[:1] and words[0].istitle() and folded[0] not in meaning.own
        self._is_of_person = is_clause and not is_of_others and not starts_with_name
        person = frozenset(name for each in names for name in each.casefold().split())
        self._subjects: dict[Source, frozenset[str]] = {
            "own": meaning.own,
            "other": meaning.addressed,
            "memory": meaning.own | meaning.third | person,
        }
        self._strangers: dict[Source, frozenset[str]] = {
            "own": meaning.addressed | meaning.third | meaning.others,
            "other": meaning.own | meaning.third | meaning.others,
            "memory": meaning.others,
        }

    def is_meant(self, text: str, source: Source) -> bool:
        """Whether the intent means this text, which the person or another said, or which is a memory of the person."""
        composed = nfc(text)
        sentences = [part for each in _SENTENCES.split(composed) for part in self._parts(_words(each))]
        holding = [sentence for sentence in sentences if self._has_all(sentence)]
        if not holding and self._has_all(_words(composed)):
            holding = [_words(composed)]
        return any(self._agrees(sentence, source) for sentence in holding)

    def _parts(self, words: list[str]) -> list[list[str]]:
        parts: list[list[str]] = [[]]
        for word in words:
            if _folded(word) in self._meaning.breaks:
                parts.append([])
            parts[-1].append(word)
        return parts

    def _has_all(self, words: list[str]) -> bool:
        terms = {term for word in words if self._has_ending(word) for term in self._terms_of(word)}
        accented = {term for word in words if _is_accented(word) for term in self._terms_of(word)}
        return all(terms & wanted for wanted in self._wanted) and self._accented <= accented

    def _agrees(self, words: list[str], source: Source) -> bool:
        folded = [_folded(word) for word in words]
        if not all(
            any(self._is_name(words, folded, position, name) for position in range(len(words))) for name in self.names
        ):
            return False
        if any(_is_only_name(words, folded, word) for word in self._plain):
            return False
        first = next((position for position, word in enumerate(words) if self._is_wanted(word)), 0)
        if self._is_clause:
            is_same = self._denies(folded) == self._is_denied
            return is_same and (not self._is_of_person or self._is_about_person(words, folded, first, source))
        before, last = (folded[first - 1], words[first - 1]) if first else ("", "")
        if not self._is_mine or source == "memory":
            return True
        if source == "other":
            return before not in self._meaning.possessive
        return before not in self._meaning.foreign and not last.endswith(("'s", "\u2019s"))

    def _denies(self, folded: Collection[str]) -> bool:
        return any(word in self._meaning.negations or word.endswith("n't") for word in folded)

    def _terms_of(self, word: str) -> list[str]:
        return self._terms.in_language(word, self._language)

    def _has_ending(self, word: str) -> bool:
        """Whether a word has the same gender as the intent's word of that stem ("hermana" is not "hermano")."""
        return all(
            self._endings.get(term, ending) == ending for term, ending in _endings([word], self._terms_of).items()
        )

    def _is_wanted(self, word: str) -> bool:
        terms = set(self._terms_of(word))
        return any(terms & wanted for wanted in self._wanted)

    def _is_name(self, words: list[str], folded: list[str], position: int, name: str) -> bool:
        """Whether the word at `position` is the name rather than the ordinary word."""
        if words[position].removesuffix("'s").removesuffix("\u2019s") != name:
            return False
        before = folded[position - 1] if position else ""
        after = folded[position + 1] if position + 1 < len(words) else ""
        meaning = self._meaning
        is_month = folded[position] in _MONTHS and (before in meaning.before_month or after.isdigit())
        own, others = meaning.own | meaning.possessive, meaning.third | meaning.others | meaning.foreign
        is_question = position == 0 and after in own | others | meaning.addressed  # "Will you come?", "May I?"
        return not is_month and not is_question

    def _is_about_person(self, words: list[str], folded: list[str], first: int, source: Source) -> bool:
        """Whether the subject is the person, judged by the last pronoun or noun before the statement's first word."""
        meaning = self._meaning
        for position in range(first - 1, -1, -1):
            if position and folded[position - 1] in meaning.possessive | meaning.foreign:
                return False  # "my sister likes"
            if folded[position] in self._subjects[source]:
                return True
            if folded[position] in self._strangers[source]:
                return False
        begins = words[0] if first else ""
        if source != "other" and begins.istitle() and folded[0] not in meaning.openers | meaning.negations:
            return bool(meaning.own.intersection(folded))  # "Sam likes"; "Mornings I like"
        return source != "other" or not meaning.own.intersection(folded)


def _words(text: str) -> list[str]:
    return [str(word) for word in _WORD.findall(text)]


def _endings(words: Iterable[str], terms_of: Callable[[str], list[str]]) -> dict[str, str]:
    """The last vowel of each term's word, if it shows a gender."""
    found: dict[str, str] = {}
    for word in words:
        bare = without_accents(_folded(word)).removesuffix("s")
        if bare.endswith(("a", "o")):
            found |= dict.fromkeys(terms_of(word), bare[-1])
    return found


def _is_accented(word: str) -> bool:
    return script_of(word) == "latin" and without_accents(word) != word


def _folded(word: str) -> str:
    return word.casefold().replace("\u2019", "'")


def _is_only_name(words: list[str], folded: list[str], word: str) -> bool:
    """Whether a word that is also a name occurs only as the name: capitalised within the sentence."""
    positions = [position for position, each in enumerate(folded) if each == word]
    return bool(positions) and all(position > 0 and words[position][:1].isupper() for position in positions)
