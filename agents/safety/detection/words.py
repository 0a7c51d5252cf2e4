r"""A text as the words that rules are matched on: one spelling for many, in English, Bengali and Hindi scripts.

Every step is linear in the text. Letters with marks (Devanagari, Bengali) stay whole, which `\w` alone would not do:
https://www.unicode.org/reports/tr18/#Compatibility_Properties. Longer texts lose their middle (`MAX_CHARACTERS`).
"""

import re

from memory.unicode_text import nfkc

MAX_CHARACTERS = 12_000
_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff'\u2018\u2019\u02bc`]")
_WORD = re.compile("[\\w\u0900-\u0963\u0966-\u096f\u0971-\u097f\u0980-\u09ff@$]+")
_LONG_RUN = re.compile(r"([a-z])\1\1+")
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"})
_KEPT_DOUBLE = frozenset("los")
_MIN_SPACED = 3  # single letters in a row that are one word: "k m s"


def words_of(text: str) -> list[str]:
    """The words in lower case, without apostrophes; digits within words become the letters they replace."""
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        text = f"{text[:half]} {text[-half:]}"
    text = folded(text)
    words = _WORD.findall(text)
    has_runs = _LONG_RUN.search(text) is not None
    return _joined([word if word.isalpha() and not has_runs else _spelled(word) for word in words])


def folded(text: str) -> str:
    """The text in lower case and one Unicode composition, without apostrophes and invisible characters."""
    if text.isascii():  # far faster, and usual
        return text.replace("'", "").replace("`", "").lower()
    return _INVISIBLE.sub("", nfkc(text)).lower()


def language_of(text: str) -> str:
    """`bn` or `hi` if most letters are of that script, otherwise `en`, which includes romanised words."""
    if text.isascii():
        return "en"
    bengali = sum("\u0980" <= char <= "\u09ff" for char in text[:MAX_CHARACTERS])
    devanagari = sum("\u0900" <= char <= "\u097f" for char in text[:MAX_CHARACTERS])
    latin = sum("a" <= char <= "z" for char in text[:MAX_CHARACTERS].lower())
    if max(bengali, devanagari) <= latin / 2:
        return "en"
    return "bn" if bengali >= devanagari else "hi"


def _spelled(word: str) -> str:
    """Normalise spelling variants such as `un4live` and `dieeee`."""
    if not word.isascii():
        return word
    if any(char.isalpha() for char in word) and not word[0].isdigit():
        word = word.translate(_LEET)
    return _LONG_RUN.sub(lambda run: run[1] * (2 if run[1] in _KEPT_DOUBLE else 1), word)


def _joined(words: list[str]) -> list[str]:
    """Join single letters in a row into a word: `s u i c i d e`."""
    if list(map(len, words)).count(1) < _MIN_SPACED:
        return words
    joined: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) == 1 and word.isascii() and word.isalpha():
            run.append(word)
            continue
        joined += ["".join(run)] if len(run) >= _MIN_SPACED else run
        run = []
        if word:
            joined.append(word)
    return joined
