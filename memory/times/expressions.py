"""The time that a question names: "last week", "in May 2023", "vor drei Tagen", "el lunes pasado", "पिछले साल".

In English, German, Spanish, Hindi and Bengali, by rules (`memory.times.languages`) that rather miss a time than find a
wrong one ("may", "second"). Resolved relative to the time of the question, in its zone; a month or a day without a year
is the last one, or in a question about what is to come the next one. Why not a library: docs/recall.md. Without a time,
recall ignores this factor.
"""

from collections.abc import Iterator
from datetime import datetime

from memory.language.detection import language_of
from memory.times.grammar import MARK, Resolve, TimeLanguage
from memory.times.interval import Interval, since
from memory.times.languages.bengali import BENGALI
from memory.times.languages.english import ENGLISH
from memory.times.languages.german import GERMAN
from memory.times.languages.hindi import HINDI
from memory.times.languages.spanish import SPANISH
from memory.times.resolve import Found, normalised, year

_LATIN = {"en": ENGLISH, "de": GERMAN, "es": SPANISH}
_OTHERS = {"hi": HINDI, "bn": BENGALI}
MAX_CHARACTERS = 2000  # at the end of a question


def interval(question: str, now: datetime) -> Interval | None:
    """The time that `question` names, or None; an impossible date (30 February) gives None."""
    text = normalised(question[-MAX_CHARACTERS:].casefold())
    for number, language in enumerate(_languages_of(text)):
        found = _first(language, text, now, is_own=number == 0)
        if found is not None:
            try:
                return _meaning(found)
            except (ValueError, OverflowError):
                return None
    return None


def _first(language: TimeLanguage, text: str, now: datetime, *, is_own: bool) -> tuple[Found, Resolve] | None:
    """What the first rule that finds something finds; a number is a year only in the text's own language."""
    is_ahead = language.is_future.search(text) is not None
    for pattern, resolve in language.rules:
        match = pattern.search(text) if is_own or resolve is not year else None
        if match is not None:
            return Found(language, match, now, is_ahead), resolve
    return None


def _meaning(first: tuple[Found, Resolve]) -> Interval:
    found, resolve = first
    meant, match = resolve(found), found.match
    text = f"{match.string[: match.start()]}{MARK}{match[0]}{MARK}{match.string[match.end() :]}"
    return since(meant, found.now) if meant.start <= found.now and found.language.lasts.search(text) else meant


def _languages_of(text: str) -> Iterator[TimeLanguage]:
    """Those that the text may be in, the likeliest first."""
    code = language_of(text)
    if code in _OTHERS:
        yield _OTHERS[code]
        return
    if code in _LATIN:
        yield _LATIN[code]
    yield from (language for other, language in _LATIN.items() if other != code)
