"""The language of a short text, by its script and, among those in Latin letters, by their words of grammar.

A chat's sentence has two or three such words, and few are shared, so counting them tells seven languages apart without
a model. A text with none of them counts as English. A language that is not listed counts as the nearest one: its words
are then searched by nearly their full forms.
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
    """The language of words in Latin letters, in lower case; of equals the one that is listed first."""
    votes = Counter(language for word in words for language in _VOTES.get(word, ()))
    return max(_LATIN, key=votes.__getitem__)
