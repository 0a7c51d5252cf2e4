"""Whether a text says what an intent is about: its words are there, of the same person, and not denied.

The words have been found by the lexical index; this is the closer look. A statement ("I like coffee") is not in "my
sister likes coffee", nor in "I no longer like coffee". A thing that is somebody's ("my job") is not in "her job". A
name that is also a word (Will, May) is only the name. By the words of the language of the intent
(`memory.intents.language.Meaning`), without grammar: it rather finds too little than too much.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Literal

import regex

from memory.intents.detector import LANGUAGES
from memory.language.scripts import script_of
from memory.language.terms import Terms
from memory.unicode_text import nfc, without_accents

Voice = Literal["own", "other", "memory"]
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
        names: how the person is called.

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
        self._subjects: dict[Voice, frozenset[str]] = {
            "own": meaning.own,
            "other": meaning.addressed,
            "memory": meaning.own | meaning.third | person,
        }
        self._strangers: dict[Voice, frozenset[str]] = {
            "own": meaning.addressed | meaning.third | meaning.others,
            "other": meaning.own | meaning.third | meaning.others,
            "memory": meaning.others,
        }

    def is_meant(self, text: str, voice: Voice) -> bool:
        """Whether the text, said by the person, by somebody else or a memory of the person, is what is meant."""
        composed = nfc(text)
        sentences = [part for each in _SENTENCES.split(composed) for part in self._parts(_words(each))]
        holding = [sentence for sentence in sentences if self._has_all(sentence)]
        if not holding and self._has_all(_words(composed)):
            holding = [_words(composed)]
        return any(self._agrees(sentence, voice) for sentence in holding)

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

    def _agrees(self, words: list[str], voice: Voice) -> bool:
        folded = [_folded(word) for word in words]
        if not all(
            any(self._is_name(words, folded, place, name) for place in range(len(words))) for name in self.names
        ):
            return False
        if any(_is_only_name(words, folded, word) for word in self._plain):
            return False
        first = next((place for place, word in enumerate(words) if self._is_wanted(word)), 0)
        if self._is_clause:
            is_same = self._denies(folded) == self._is_denied
            return is_same and (not self._is_of_person or self._is_about_person(words, folded, first, voice))
        before, last = (folded[first - 1], words[first - 1]) if first else ("", "")
        if not self._is_mine or voice == "memory":
            return True
        if voice == "other":
            return before not in self._meaning.possessive
        return before not in self._meaning.foreign and not last.endswith(("'s", "\u2019s"))

    def _denies(self, folded: Collection[str]) -> bool:
        return any(word in self._meaning.negations or word.endswith("n't") for word in folded)

    def _terms_of(self, word: str) -> list[str]:
        return self._terms.in_language(word, self._language)

    def _has_ending(self, word: str) -> bool:
        """Whether a word has the gender of the wanted one with the same stem: a sister is no brother."""
        return all(
            self._endings.get(term, ending) == ending for term, ending in _endings([word], self._terms_of).items()
        )

    def _is_wanted(self, word: str) -> bool:
        terms = set(self._terms_of(word))
        return any(terms & wanted for wanted in self._wanted)

    def _is_name(self, words: list[str], folded: list[str], place: int, name: str) -> bool:
        """Whether the word at `place` is the name, and not the word that is written alike."""
        if words[place].removesuffix("'s").removesuffix("\u2019s") != name:
            return False
        before = folded[place - 1] if place else ""
        after = folded[place + 1] if place + 1 < len(words) else ""
        meaning = self._meaning
        is_month = folded[place] in _MONTHS and (before in meaning.before_month or after.isdigit())
        asked = meaning.own | meaning.addressed | meaning.third | meaning.others | meaning.possessive | meaning.foreign
        return not is_month and not (place == 0 and after in asked)  # "Will you come?", "May I?"

    def _is_about_person(self, words: list[str], folded: list[str], first: int, voice: Voice) -> bool:
        """Whether the subject is the person: by the last word before the statement's that says whose it is."""
        meaning = self._meaning
        for place in range(first - 1, -1, -1):
            if place and folded[place - 1] in meaning.possessive | meaning.foreign:
                return False  # "my sister likes"
            if folded[place] in self._subjects[voice]:
                return True
            if folded[place] in self._strangers[voice]:
                return False
        begins = words[0] if first else ""
        if voice != "other" and begins.istitle() and folded[0] not in meaning.openers | meaning.negations:
            return bool(meaning.own.intersection(folded))  # "Sam likes"; "Mornings I like"
        return voice != "other" or not meaning.own.intersection(folded)


def _words(text: str) -> list[str]:
    return [str(word) for word in _WORD.findall(text)]


def _endings(words: Iterable[str], terms_of: Callable[[str], list[str]]) -> dict[str, str]:
    """The last vowel of each term's word, if it tells a gender."""
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
    """Whether a word that is also a name stands here as the name alone: in capitals within the sentence."""
    places = [place for place, each in enumerate(folded) if each == word]
    return bool(places) and all(place > 0 and words[place][:1].isupper() for place in places)
