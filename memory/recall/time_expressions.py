"""The time that a question asks about: "last week", "in May 2023", "on 3 June", "two days ago".

Resolved relative to the time of the question by a few rules, which rather miss a time than find a wrong one ("may",
"second"). English only; days begin at midnight in `now`'s zone. Without a time, recall ignores this factor.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
           "nine": 9, "ten": 10, "eleven": 11, "twelve": 12}  # fmt: skip

_MONTH = f"(?P<month>{'|'.join(MONTHS)})"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` up to, not including, `end`."""

    start: datetime
    end: datetime


def interval(question: str, now: datetime) -> Interval | None:
    """The first time that `question` names, or None.

    A month or a day without a year is the last one that began before `now`. An impossible date (30 February) gives
    None.
    """
    text = question.lower()
    for pattern, resolve in _RULES:
        match = pattern.search(text)
        if match is not None:
            try:
                return resolve(match, now)
            except (ValueError, OverflowError):
                return None
    return None


def _date(match: re.Match[str], now: datetime) -> Interval:
    month = match["month"]
    number = MONTHS.index(month) + 1 if month in MONTHS else int(month)
    year = match.groupdict().get("year")
    if year is not None:
        start = _midnight(now).replace(year=int(year), month=number, day=int(match["day"]))
    else:
        start = _last(now, number, int(match["day"]))
    return Interval(start, start + timedelta(days=1))


def _month(match: re.Match[str], now: datetime) -> Interval:
    number, year = MONTHS.index(match["month"]) + 1, match.groupdict().get("year")
    start = _last(now, number, 1) if year is None else _midnight(now).replace(year=int(year), month=number, day=1)
    return Interval(start, _months_later(start, 1))


def _year(match: re.Match[str], now: datetime) -> Interval:
    start = _midnight(now).replace(year=int(match["year"]), month=1, day=1)
    return Interval(start, _months_later(start, 12))


def _day(match: re.Match[str], now: datetime) -> Interval:
    start = _midnight(now) - timedelta(days={"today": 0, "tonight": 0, "yesterday": 1}[match["when"]])
    return Interval(start, start + timedelta(days=1))


def _relative(match: re.Match[str], now: datetime) -> Interval:
    return _span(match["unit"], 0 if match["which"] == "this" else 1, now)


def _ago(match: re.Match[str], now: datetime) -> Interval:
    count = NUMBERS.get(match["count"])
    return _span(match["unit"], int(match["count"]) if count is None else count, now)


def _weekday(match: re.Match[str], now: datetime) -> Interval:
    back = (now.weekday() - WEEKDAYS.index(match["weekday"])) % 7 or 7
    start = _midnight(now) - timedelta(days=back)
    return Interval(start, start + timedelta(days=1))


def _span(unit: str, ago: int, now: datetime) -> Interval:
    """The day, week (from Monday), weekend, month or year that lies `ago` of its kind before the present one."""
    today = _midnight(now)
    if unit == "day":
        return Interval(today - timedelta(days=ago), today - timedelta(days=ago - 1))
    if unit in ("week", "weekend"):
        monday = today - timedelta(days=today.weekday(), weeks=ago)
        return Interval(monday + timedelta(days=5 if unit == "weekend" else 0), monday + timedelta(weeks=1))
    months = 12 if unit == "year" else 1
    start = _months_later(today.replace(day=1, month=1 if unit == "year" else today.month), -ago * months)
    return Interval(start, _months_later(start, months))


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _last(now: datetime, month: int, day: int) -> datetime:
    this_year = _midnight(now).replace(month=month, day=day)
    return this_year if this_year <= now else this_year.replace(year=now.year - 1)


def _months_later(start: datetime, months: int) -> datetime:
    years, month = divmod(start.month - 1 + months, 12)
    return start.replace(year=start.year + years, month=month + 1)


_Rule = tuple[re.Pattern[str], Callable[[re.Match[str], datetime], Interval]]
_RULES: tuple[_Rule, ...] = (
    (re.compile(r"\b(?P<year>(?:19|20)\d\d)-(?P<month>\d\d)-(?P<day>\d\d)\b"), _date),
    (re.compile(rf"\b{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?\b"), _date),
    (re.compile(rf"\b{_MONTH} {_DAY}\b(?:,? {_YEAR})?"), _date),
    (re.compile(rf"\b(?:{_MONTH},? (?:of )?{_YEAR})\b"), _month),
    (re.compile(rf"\b(?:in|during|since|last) {_MONTH}\b"), _month),
    (re.compile(r"\b(?P<when>today|tonight|yesterday)\b"), _day),
    (re.compile(r"\b(?P<which>this|last|previous) (?P<unit>weekend|week|month|year)\b"), _relative),
    (re.compile(rf"\b(?P<count>\d{{1,3}}|{'|'.join(NUMBERS)}) (?P<unit>day|week|month|year)s? ago\b"), _ago),
    (re.compile(rf"\b(?:on|last) (?P<weekday>{'|'.join(WEEKDAYS)})\b"), _weekday),
    (re.compile(rf"\b(?:in|during|since) {_YEAR}\b"), _year),
)
