"""Intervals of time around a moment: days, weeks, months, years, parts of a day. They begin at midnight in its zone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

Unit = Literal["day", "week", "weekend", "month", "year"]
Part = Literal["morning", "noon", "afternoon", "evening", "night"]
# In hours of the day; a night ends on the next one.
PARTS: MappingProxyType[Part, tuple[int, int]] = MappingProxyType(
    {"morning": (5, 12), "noon": (11, 14), "afternoon": (12, 18), "evening": (18, 24), "night": (18, 30)}
)
MAX_COUNT = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """From `start` up to, not including, `end`."""

    start: datetime
    end: datetime


def midnight(moment: datetime) -> datetime:
    """The beginning of its day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def of_day(now: datetime, offset: int) -> Interval:
    """The day so many days after today."""
    start = midnight(now) + timedelta(days=offset)
    return Interval(start, start + timedelta(days=1))


def of_unit(unit: Unit, offset: int, now: datetime) -> Interval:
    """The day, week (from Monday), weekend, month or year that lies `offset` of its kind after the present one."""
    today = midnight(now)
    if unit == "day":
        return of_day(now, offset)
    if unit in ("week", "weekend"):
        monday = today + timedelta(days=-today.weekday(), weeks=offset)
        return Interval(monday + timedelta(days=5 if unit == "weekend" else 0), monday + timedelta(weeks=1))
    months = 12 if unit == "year" else 1
    start = months_later(today.replace(day=1, month=1 if unit == "year" else today.month), offset * months)
    return Interval(start, months_later(start, months))


def lately(unit: Unit, count: int, now: datetime) -> Interval:
    """The last so many days, weeks, months or years up to the end of today."""
    today = midnight(now)
    if unit in ("month", "year"):
        start = months_later(today.replace(day=1), -count * (12 if unit == "year" else 1))
        start += timedelta(days=min(today.day, days_of(start)) - 1)
    else:
        start = today - timedelta(days=count * (1 if unit == "day" else 7))
    return Interval(start, today + timedelta(days=1))


def of_weekday(weekday: int, now: datetime, *, ahead: bool) -> Interval:
    """The last such day before today, or the next one after it; Monday is 0."""
    today = midnight(now)
    if ahead:
        return of_day(now, (weekday - today.weekday()) % 7 or 7)
    return of_day(now, -((today.weekday() - weekday) % 7 or 7))


def of_date(now: datetime, month: int, day: int, year: int | None, *, ahead: bool) -> Interval:
    """A date; without a year the last such one up to today, or the next one. Raises ValueError if there is none."""
    start = midnight(now).replace(year=year or now.year, month=month, day=day)
    if year is None:
        start = start.replace(year=start.year + _turn(start, now, ahead=ahead))
    return Interval(start, start + timedelta(days=1))


def of_month(now: datetime, month: int, year: int | None, *, ahead: bool, months: int = 1) -> Interval:
    """A month, or several from it on; without a year the last such one that has begun, or the next one."""
    start = midnight(now).replace(year=year or now.year, month=month, day=1)
    if year is None:
        start = start.replace(year=start.year + _turn(start, now, ahead=ahead))
    return Interval(start, months_later(start, months))


def of_year(now: datetime, year: int, years: int = 1) -> Interval:
    """A year, or several from it on."""
    start = midnight(now).replace(year=year, month=1, day=1)
    return Interval(start, months_later(start, 12 * years))


def part_of(day: Interval, part: Part) -> Interval:
    """A part of a day."""
    first, last = PARTS[part]
    return Interval(day.start + timedelta(hours=first), day.start + timedelta(hours=last))


def since(start: Interval, now: datetime) -> Interval:
    """From its beginning up to the end of today."""
    return Interval(start.start, max(of_day(now, 0).end, start.end))


def months_later(start: datetime, months: int) -> datetime:
    """The first of a month, so many months after another one; raises ValueError beyond the calendar."""
    years, month = divmod(start.month - 1 + months, 12)
    return start.replace(year=start.year + years, month=month + 1)


def days_of(first: datetime) -> int:
    """The number of days of the month that begins then."""
    return (months_later(first, 1) - first).days


def _turn(start: datetime, now: datetime, *, ahead: bool) -> int:
    """The years to add for the date to be the last one, or the next one."""
    if ahead:
        return 0 if start.date() >= now.date() else 1
    return 0 if start <= now else -1
