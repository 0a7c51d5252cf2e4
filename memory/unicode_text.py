"""Normalisation of text in linear time, whatever its characters.

Unicode's normal forms sort the marks that follow a character, which takes the square of their number (50,000 marks:
14 s with the interpreter held). Texts of any language have a few; what goes beyond is dropped first, as UAX #15
proposes for streams (https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format: 30 of them).
"""

import functools
import re
import sys
import unicodedata

MAX_MARKS = 30  # of one character


def nfkc(text: str) -> str:
    """The text in normal form KC, without the marks of a character beyond MAX_MARKS."""
    return text if text.isascii() else unicodedata.normalize("NFKC", without_long_runs(text))


def nfc(text: str) -> str:
    """The text in normal form C, without the marks of a character beyond MAX_MARKS."""
    return text if text.isascii() else unicodedata.normalize("NFC", without_long_runs(text))


def without_accents(text: str) -> str:
    """The text in normal form KD, without any combining marks."""
    if text.isascii():
        return text
    return "".join(filter(_is_letter, unicodedata.normalize("NFKD", without_long_runs(text))))


def is_control(char: str) -> bool:
    """Whether it is a control or format character, a surrogate, or unassigned (general category C)."""
    return unicodedata.category(char).startswith("C")


def without_long_runs(text: str) -> str:
    """The text with at most MAX_MARKS characters in a row that a normal form would sort."""
    return text if text.isascii() else _runs().sub(r"\1", text)


@functools.cache
def _runs() -> re.Pattern[str]:
    """Finds a run that is too long: characters with a combining class, or that decompose to nothing but such."""
    marks = "".join(map(re.escape, filter(_is_mark, map(chr, range(128, sys.maxunicode + 1)))))
    return re.compile(f"((?<![{marks}])[{marks}]{{{MAX_MARKS}}})[{marks}]+")


def _is_letter(char: str) -> bool:
    return not unicodedata.combining(char)


def _is_mark(char: str) -> bool:
    if not unicodedata.decomposition(char):
        return bool(unicodedata.combining(char))
    return all(map(unicodedata.combining, unicodedata.normalize("NFKD", char)))
