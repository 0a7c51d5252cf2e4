"""What a matched expression means: from its words, and the moment of the question, to an interval.

Every function may raise ValueError or OverflowError for a date that the calendar does not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import regex

from memory.times.interval import (
    MAX_COUNT,
    Interval,
    Unit,
    lately,
    of_date,
    of_day,
    of_month,
    of_unit,
    of_weekday,
    of_year,
    part_of,
)
from memory.unicode_text import nfc

if TYPE_CHECKING:
    from memory.times.grammar import TimeLanguage

STEPS: Mapping[str, int] = {"last": -1, "this": 0, "next": 1}
SEASON_MONTHS = (3, 6, 9, 12)  # spring, summer, autumn and winter begin then, north of the equator
_DIGITS = str.maketrans("०१२३४५६७८९০১২৩৪৫৬৭৮৯", "0123456789" * 2, "\u093c\u09bc")  # and without nuktas
Key = TypeVar("Key")


@dataclass(frozen=True)
class Found:
    """A match, with what its language makes of its words; `is_ahead`: the question is about what is to come."""

    language: "TimeLanguage"
    match: regex.Match[str]
    now: datetime
    is_ahead: bool

    def text(self, name: str) -> str | None:
        """A part of the match; None if the pattern has none, or it is not there."""
        found = self.match.groupdict().get(name)
        return None if found is None else str(found)

    def number(self, name: str) -> int | None:
        """A part in digits."""
        text = self.text(name)
        return None if text is None else int(text)

    @property
    def count(self) -> int:
        """What {n} says."""
        text = self.match["n"]
        return min(int(text), MAX_COUNT) if text.isdigit() else _value(self.language.numbers, text)

    @property
    def unit(self) -> Unit:
        """What {unit} says."""
        return _key(self.language.units, self.match["unit"])

    @property
    def step(self) -> int | None:
        """What {which} says: -1, 0 or 1."""
        text = self.text("which")
        return None if text is None else STEPS[_key(self.language.which, text)]

    def month(self, name: str = "month") -> int:
        """What {month} says, from 1."""
        return _place(self.language.months, self.match[name]) + 1

    @property
    def day_of_name(self) -> Interval:
        """The day that {name_of_day} says."""
        text, language = self.match["name"], self.language
        if any(_is(word, text) for word in language.days):
            return of_day(self.now, _value(language.days, text))
        offset = _value(language.days_by_tense, text)
        return of_day(self.now, offset if self.is_ahead else -offset)


def numeric(found: Found) -> Interval:
    """2025-07-14, 14.07.2025."""
    month, day, year = (found.number(name) or 0 for name in ("number", "day", "year"))
    if month > 12 >= day:
        month, day = day, month
    return of_date(found.now, month, day, year, ahead=False)


def date(found: Found) -> Interval:
    """3 June 2024, 21 November."""
    day, year = found.number("day") or 0, found.number("year")
    return of_date(found.now, found.month(), day, year, ahead=found.is_ahead)


def days_between(found: Found) -> Interval:
    """From 3 to 7 February 2025."""
    year = found.number("year")
    first = of_date(found.now, found.month(), found.number("day") or 0, year, ahead=found.is_ahead)
    last = first.start.replace(day=found.number("day2") or 0)
    return _ordered(first.start, last + timedelta(days=1))


def months_between(found: Found) -> Interval:
    """Between March and May 2024."""
    first = of_month(found.now, found.month(), found.number("year"), ahead=found.is_ahead)
    months = (found.month("month2") - found.month()) % 12 + 1
    return of_month(found.now, first.start.month, first.start.year, ahead=False, months=months)


def month(found: Found) -> Interval:
    """In May, last May, in May 2024."""
    step = found.step
    is_ahead = found.is_ahead if step is None else step == 1
    return of_month(found.now, found.month(), found.number("year"), ahead=is_ahead)


def year(found: Found) -> Interval:
    """In 2021."""
    return of_year(found.now, found.number("year") or 0)


def decade(found: Found) -> Interval:
    """The 90s."""
    tens = found.number("decade") or 0
    return of_year(found.now, tens if tens > 100 else (1900 if tens > 20 else 2000) + tens, 10)


def ago(found: Found) -> Interval:
    """Three weeks ago."""
    return of_unit(found.unit, -found.count, found.now)


def ahead(found: Found) -> Interval:
    """In three days."""
    return of_unit(found.unit, found.count, found.now)


def in_the_last(found: Found) -> Interval:
    """The last two weeks."""
    return lately(found.unit, found.count, found.now)


def relative(found: Found) -> Interval:
    """Last week, this month, next year."""
    return of_unit(found.unit, found.step or 0, found.now)


def weekday(found: Found) -> Interval:
    """On Friday, last Monday, next Tuesday; with a part of the day if it is named."""
    place, step = _place(found.language.weekdays, found.match["weekday"]), found.step
    if step == 0:
        day = of_day(found.now, place - found.now.weekday())
    else:
        is_ahead = found.is_ahead if step is None else step == 1
        day = of_weekday(place, found.now, ahead=is_ahead)
    return _part(found, day)


def day(found: Found) -> Interval:
    """Yesterday, tomorrow; yesterday evening."""
    return _part(found, found.day_of_name)


def last_night(found: Found) -> Interval:
    """Last night."""
    return part_of(of_day(found.now, -1), "night")


def tonight(found: Found) -> Interval:
    """Tonight."""
    return part_of(of_day(found.now, 0), "night")


def this_part(found: Found) -> Interval:
    """This morning."""
    return _part(found, of_day(found.now, 0))


def season(found: Found) -> Interval:
    """Last summer, the summer of 2023."""
    first = SEASON_MONTHS[_place(found.language.seasons, found.match["season"])]
    named, step = found.number("year"), found.step
    if named is not None:
        return of_month(found.now, first, named, ahead=False, months=3)
    if step == 0:
        return of_month(found.now, first, found.now.year, ahead=False, months=3)
    present = of_month(found.now, first, None, ahead=step == 1, months=3)
    if step != 1 and present.end > found.now:  # it is not over
        return of_month(found.now, first, present.start.year - 1, ahead=False, months=3)
    return present


def holiday(found: Found) -> Interval:
    """At Christmas, on Christmas 2024."""
    text, step = found.match["holiday"], found.step
    month_, day_, days = next(each for word, each in found.language.holidays.items() if _is(word, text))
    is_ahead = found.is_ahead if step is None else step == 1
    first = of_date(found.now, month_, day_, found.number("year"), ahead=is_ahead)
    return Interval(first.start, first.start + timedelta(days=days))


def normalised(text: str) -> str:
    """Composed, with ASCII digits, without nuktas: so are texts and patterns compared."""
    return nfc(text).translate(_DIGITS)


def _part(found: Found, of: Interval) -> Interval:
    text = found.text("part")
    return of if text is None else part_of(of, _key(found.language.parts, text))


def _ordered(start: datetime, end: datetime) -> Interval:
    if end <= start:
        raise ValueError("it ends before it begins")
    return Interval(start, end)


def _is(word: str, text: str) -> bool:
    return regex.fullmatch(normalised(word), text) is not None


def _key(words: Mapping[Key, str], text: str) -> Key:
    return next(key for key, word in words.items() if _is(word, text))


def _value(words: Mapping[str, int], text: str) -> int:
    return next(number for word, number in words.items() if _is(word, text))


def _place(words: Sequence[str], text: str) -> int:
    return next(place for place, word in enumerate(words) if _is(word, text))
