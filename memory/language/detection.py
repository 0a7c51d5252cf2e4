"""Detects the language of a short text by its script and, for Latin letters, by its stop words.

A chat message has two or three stop words, and languages share few, so counting them distinguishes seven languages
without a model. A text without any counts as English. A language that is not listed counts as the nearest one; its
words are then hardly stemmed.
"""

from collections import Counter
from collections.abc import Iterable
from types import MappingProxyType

from memory.language.scripts import script_of, words_of
from memory.language.stop_words import STOP_WORDS

ENGLISH = "en"
_BY_SCRIPT = MappingProxyType(
    {"cyrillic": "ru", "arabic": "ar", "devanagari": "hi", "bengali": "bn", "greek": "el", "tamil": "ta"}
)
_LATIN = ("en", "de", "es", "fr", "it", "pt", "nl")
_VOTES: dict[str, tuple[str, ...]] = {}
for _language in _LATIN:
    for _word in STOP_WORDS[_language]:
        _VOTES[_word] = (*_VOTES.get(_word, ()), _language)


def language_of(text: str) -> str:
    """The ISO 639-1 code of a text's language."""
    words = words_of(text.lower())
    other = next((word for word in words if script_of(word) in _BY_SCRIPT), None)
    return latin_language(words) if other is None else _BY_SCRIPT[script_of(other)]


def latin_language(words: Iterable[str]) -> str:
    """The language of lower-case words in Latin letters; the one listed first if several fit equally."""
    votes = Counter(language for word in words for language in _VOTES.get(word, ()))
    return max(_LATIN, key=votes.__getitem__)
