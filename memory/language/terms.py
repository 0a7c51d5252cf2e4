"""Cuts a text into search terms: words without stop words, stemmed, without case and accents.

Each word is stemmed by the rules of its script's language (Snowball, https://snowballstem.org), or of the text's
language if several use the script; Bengali, which Snowball lacks, by its most common endings. Scripts without spaces
give pairs of adjacent characters. Case is folded, Latin letters lose their accents, and spelling variants (Arabic
alefs, Russian ё, Hindi's dots) become one.
"""

from collections.abc import Collection, Iterator
from itertools import pairwise
from types import MappingProxyType

import regex
import Stemmer

from memory.language.detection import latin_language
from memory.language.scripts import Script, script_of, words_of
from memory.language.stop_words import STOP_WORDS
from memory.unicode_text import without_accents

_ALGORITHMS = MappingProxyType(
    {
        "en": "english",
        "de": "german",
        "es": "spanish",
        "fr": "french",
        "it": "italian",
        "pt": "portuguese",
        "nl": "dutch",
        "ru": "russian",
        "ar": "arabic",
        "hi": "hindi",
        "el": "greek",
        "ta": "tamil",
    }
)
_LANGUAGES: MappingProxyType[Script, str] = MappingProxyType(
    {"cyrillic": "ru", "arabic": "ar", "devanagari": "hi", "bengali": "bn", "greek": "el", "tamil": "ta"}
)
_SAME_LETTERS = str.maketrans(
    {"ё": "е", "أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه", "\u093c": None, "ँ": "ं"}  # noqa: RUF001 - meant
)
_ARABIC_MARKS = regex.compile(r"[\u064b-\u065f\u0670]")
_UNITS = regex.compile(r"\X")
# Of nouns (cases, plurals, articles), longest first; a word keeps two letters at least.
_BENGALI_ENDINGS = (
    *("গুলোতে", "গুলোকে", "গুলোর", "গুলিকে", "গুলির", "দেরকে", "গুলো", "গুলি", "টিকে", "টাকে", "টির", "টার", "দের"),
    *("েরা", "ের", "টি", "টা", "কে", "তে", "রা", "য়", "ে", "র"),
)


class Terms:
    """Cuts text into terms. Not thread-safe."""

    def __init__(self) -> None:
        self._stemmers = {code: Stemmer.Stemmer(algorithm) for code, algorithm in _ALGORITHMS.items()}

    def __call__(self, text: str) -> list[str]:
        """The terms of `text`, in order."""
        return self.read(text)[0]

    def read(self, text: str) -> tuple[list[str], str]:
        """The terms, and the language used to stem words in Latin letters."""
        words = words_of(text.casefold())
        language = latin_language(words)
        grammar = STOP_WORDS[language]
        if text.isascii():
            kept = [word for word in words if word not in grammar]
            return self._stemmers[language].stemWords(kept), language
        return [term for word in words for term in self._terms_of(word, language)], language

    def in_language(self, text: str, language: str) -> list[str]:
        """The terms of a text in a known language, including stop words."""
        return [
            term
            for word in words_of(text.casefold())
            for term in (
                (self._latin(word, language),) if script_of(word) == "latin" else self._terms_of(word, language)
            )
        ]

    def variants(self, text: str, languages: Collection[str]) -> list[tuple[str, ...]]:
        """For each term of a question, its forms in `languages`, those of the texts to search."""
        words = words_of(text.casefold())
        own = latin_language(words)
        codes = dict.fromkeys((own, *languages))
        found: list[tuple[str, ...]] = []
        for word in words:
            if script_of(word) != "latin":
                found += [(term,) for term in self._terms_of(word, own)]
            elif word not in STOP_WORDS[own]:
                found.append(tuple(dict.fromkeys(self._latin(word, code) for code in codes)))
        return found

    def _terms_of(self, word: str, language: str) -> Iterator[str]:
        script = script_of(word)
        if script == "latin":
            if word not in STOP_WORDS[language]:
                yield self._latin(word, language)
        elif script == "unspaced":
            yield from _pairs(word)
        else:
            code = _LANGUAGES.get(script)
            if word not in STOP_WORDS.get(code or "", ()):
                yield self._stemmed(_same_letters(word), code)

    def _latin(self, word: str, language: str) -> str:
        stem: str = self._stemmers[language].stemWord(word)
        return without_accents(stem)

    def _stemmed(self, word: str, language: str | None) -> str:
        if language == "bn":
            return next((word.removesuffix(end) for end in _BENGALI_ENDINGS if _ends(word, end)), word)
        stemmer = self._stemmers.get(language or "")
        return word if stemmer is None else str(stemmer.stemWord(word))


def _ends(word: str, end: str) -> bool:
    return word.endswith(end) and len(word) >= len(end) + 2


def _pairs(run: str) -> Iterator[str]:
    units = _UNITS.findall(run)
    if len(units) == 1:
        yield run
    yield from map("".join, pairwise(units))


def _same_letters(word: str) -> str:
    return str(_ARABIC_MARKS.sub("", word.translate(_SAME_LETTERS)))
