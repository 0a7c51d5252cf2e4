"""What the yearly report counts: how often help was named, by category, level and month. No person is in it.

California's SB 243 and Washington's HB 2225 ask for the number of referrals. There is no text, no person, no key and no
time finer than a month, and small numbers can be hidden. Kept in SQL.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from agents.safety.risk import Action, Risk
from storage.safety_counts import add_count, read_counts


class Count(NamedTuple):
    """The key of a count."""

    month: str  # 2026-11, UTC
    category: str
    level: str
    action: str


class Counts(Protocol):
    """Counts referrals."""

    async def add(self, count: Count) -> None:
        """Count one referral."""

    async def read(self, year: int) -> Mapping[Count, int]:
        """All counts of a year."""


class SqlCounts:
    """Counts shared through a database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, count: Count) -> None:
        """As `Counts`."""
        await add_count(self._engine, count)

    async def read(self, year: int) -> Mapping[Count, int]:
        """As `Counts`."""
        return {Count(*key): number for key, number in (await read_counts(self._engine, year)).items()}


def counted(risk: Risk, now: datetime) -> Count | None:
    """The key under which a risk is counted; None if no help was offered. `now` is in UTC."""
    if risk.action is Action.CONTINUE:
        return None
    return Count(f"{now:%Y-%m}", risk.category.value, risk.level.name.lower(), risk.action.value)


def yearly_report(counts: Mapping[Count, int], *, hide_below: int = 1) -> dict[str, int]:
    """Referrals by category and in total; categories below `hide_below` appear only in the total."""
    by_category: Counter[str] = Counter()
    for count, number in counts.items():
        by_category[count.category] += number
    shown = {name: number for name, number in sorted(by_category.items()) if number >= hide_below}
    return {"all": by_category.total()} | shown
