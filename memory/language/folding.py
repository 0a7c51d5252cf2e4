"""Text without case and accents, so that a search finds what is meant and not only what is typed."""

from collections.abc import Callable

from memory.unicode_text import without_accents


def folded(text: str) -> str:
    """The text in lower case, without accents, and with single spaces: "Élodie" is "elodie", "Straße" is "strasse"."""
    return " ".join(without_accents(text.casefold()).split())


def containing(words: str) -> Callable[[str], bool]:
    """What tells whether a text has these words in it, whatever their case and accents."""
    wanted = folded(words)
    return lambda text: wanted in folded(text)
