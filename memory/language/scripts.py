"""Splits text into words by Unicode's rules, and names the script of a word.

A word is letters and digits with their combining marks, composed (NFC). Scripts without spaces between words (Chinese,
Japanese, Thai, ...) have runs instead, which `memory.language.terms` cuts into n-grams.
"""

import re
from typing import Literal

import regex

from memory.unicode_text import nfc

Script = Literal["latin", "cyrillic", "greek", "arabic", "devanagari", "bengali", "tamil", "unspaced", "other"]
_ASCII_WORD = re.compile(r"[^\W_]+")
# Python's \w leaves out combining marks, which are vowels in most scripts of India: a word would be several.
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}\u200c\u200d]*")
_JOINERS = str.maketrans("", "", "\u200c\u200d\u0640")  # they change how a word is drawn
_MAX_COMPOSED = 64  # characters of a word; normalising a long run of marks takes its square
_RANGES: tuple[tuple[int, int, Script], ...] = (
    (0x0041, 0x024F, "latin"),
    (0x0370, 0x03FF, "greek"),
    (0x0400, 0x052F, "cyrillic"),
    (0x0600, 0x077F, "arabic"),
    (0x0900, 0x097F, "devanagari"),
    (0x0980, 0x09FF, "bengali"),
    (0x0B80, 0x0BFF, "tamil"),
    (0x0E00, 0x0EFF, "unspaced"),  # Thai, Lao
    (0x1000, 0x109F, "unspaced"),  # Myanmar
    (0x1100, 0x11FF, "unspaced"),  # Hangul has spaces, and particles that stick to its words
    (0x1780, 0x17FF, "unspaced"),  # Khmer
    (0x1E00, 0x1EFF, "latin"),
    (0x2E80, 0x9FFF, "unspaced"),  # Han, Kana
    (0xAC00, 0xD7A3, "unspaced"),  # Hangul
    (0xF900, 0xFAFF, "unspaced"),
    (0x20000, 0x3FFFF, "unspaced"),
)


def words_of(text: str) -> list[str]:
    """The words of a text, in order, in their original case."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return [_composed(word) for word in _WORD.findall(text)]


def script_of(word: str) -> Script:
    """The script of a word's first letter; digits are `latin`."""
    if word.isascii():
        return "latin"
    for letter in word:
        if letter.isalpha():
            code = ord(letter)
            return next((script for first, last, script in _RANGES if first <= code <= last), "other")
    return "latin"


def _composed(word: str) -> str:
    if word.isascii() or len(word) > _MAX_COMPOSED:
        return word
    return nfc(word.translate(_JOINERS))
