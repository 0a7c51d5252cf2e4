r"""What a language brings for reading times, and the rules that are made of it.

A language has words (regular expressions without capturing groups) and templates in which `{n}`, `{unit}`, `{which}`,
`{month}`, `{weekday}`, `{day}`, `{year}`, `{part}`, `{season}`, `{holiday}` and `{name_of_day}` stand for them. Rules
are tried in order: what a longer expression says comes before what its parts would.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import regex

from memory.times import resolve
from memory.times.interval import Interval, Part, Unit
from memory.times.resolve import Found, normalised

Which = Literal["last", "this", "next"]
Resolve = Callable[[Found], Interval]
_LETTER = r"[\p{L}\p{M}\p{N}]"
MARK = "\N{BLACK CIRCLE}"  # stands before and after an expression in its text, where `since` is looked for


@dataclass(frozen=True, kw_only=True)
class TimeLanguage:
    """The words and templates of a language.

    `days` are named by their distance from today, `days_by_tense` by it forward or back; `holidays` are (month, day,
    days). `since` makes the beginning of a lasting time of what follows it, `future` tells what a question is about.
    """

    months: Sequence[str]
    weekdays: Sequence[str]
    numbers: Mapping[str, int]
    units: Mapping[Unit, str]
    days: Mapping[str, int]
    days_by_tense: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[Part, str]
    seasons: Sequence[str]
    holidays: Mapping[str, tuple[int, int, int]]
    which: Mapping[Which, str]
    days_between: Sequence[str]
    months_between: Sequence[str]
    dates: Sequence[str]
    month_of_year: Sequence[str]
    decade: Sequence[str]
    ago: Sequence[str]
    lately: Sequence[str]
    ahead: Sequence[str]
    last_night: Sequence[str]
    tonight: Sequence[str]
    day_with_part: Sequence[str]
    this_part: Sequence[str]
    relative: Sequence[str]
    on_weekday: Sequence[str]
    in_season: Sequence[str]
    on_holiday: Sequence[str]
    month: Sequence[str]
    year: Sequence[str]
    since: str
    future: str

    @cached_property
    def rules(self) -> Sequence[tuple[regex.Pattern[str], Resolve]]:
        """Patterns, each with what a match means; the first that is found counts."""
        kinds: tuple[tuple[Sequence[str], Resolve], ...] = (
            (self.days_between, resolve.days_between),
            (self.months_between, resolve.months_between),
            ((r"{year}-(?P<number>\d\d)-{day}", r"{day}[./](?P<number>\d{1,2})[./]{year}"), resolve.numeric),
            (self.dates, resolve.date),
            (self.month_of_year, resolve.month),
            (self.decade, resolve.decade),
            (self.ago, resolve.ago),
            (self.lately, resolve.in_the_last),
            (self.ahead, resolve.ahead),
            (self.last_night, resolve.last_night),
            (self.tonight, resolve.tonight),
            (self.day_with_part, resolve.day),
            (self.this_part, resolve.this_part),
            (self.relative, resolve.relative),
            (self.on_weekday, resolve.weekday),
            (self.in_season, resolve.season),
            (self.on_holiday, resolve.holiday),
            (self.month, resolve.month),
            (self.year, resolve.year),
            (("{name_of_day}",), resolve.day),
        )
        return [(self._compiled(template), of) for templates, of in kinds for template in templates]

    @cached_property
    def is_future(self) -> regex.Pattern[str]:
        """Finds what tells that a question is about what is to come."""
        return regex.compile(normalised(self.future))

    @cached_property
    def lasts(self) -> regex.Pattern[str]:
        """Finds what says that a time is the beginning of something, before or after it, or at one of its ends."""
        return regex.compile(normalised(self.since))

    def _compiled(self, template: str) -> regex.Pattern[str]:
        """The pattern of a template, at the borders of words."""
        pattern = template
        for name, words in self._slots.items():
            pattern = pattern.replace("{" + name + "}", words)
        return regex.compile(f"(?<!{_LETTER})(?:{normalised(pattern)})(?!{_LETTER})")

    @cached_property
    def _slots(self) -> dict[str, str]:
        return {
            "n": rf"(?P<n>\d{{1,3}}|{_any(self.numbers)})",
            "unit": f"(?P<unit>{_any(self.units.values())})",
            "which": f"(?P<which>{_any(self.which.values())})",
            "month2": f"(?P<month2>{_any(self.months)})",
            "month": f"(?P<month>{_any(self.months)})",
            "weekday": f"(?P<weekday>{_any(self.weekdays)})",
            "day2": r"(?P<day2>\d{1,2})",
            "day": r"(?P<day>\d{1,2})",
            "year": r"(?P<year>(?:19|20)\d\d)",
            "part": f"(?P<part>{_any(self.parts.values())})",
            "season": f"(?P<season>{_any(self.seasons)})",
            "holiday": f"(?P<holiday>{_any(self.holidays)})",
            "name_of_day": f"(?P<name>{_any({**self.days, **self.days_by_tense})})",
        }


def _any(words: Iterable[str]) -> str:
    """Any of these words, longer ones first."""
    return "|".join(f"(?:{word})" for word in sorted(words, key=len, reverse=True))
