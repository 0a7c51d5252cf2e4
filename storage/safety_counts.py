"""How often help was offered, by month and kind: for a yearly report, without personal data.

It has no app, no person, no text and no time finer than a month, so it is not erased with a person. It does not know
what is counted (`agents.safety.counts`).
"""

from collections.abc import Mapping

from sqlalchemy import BigInteger, String, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapped, mapped_column

from storage.database import upsert
from storage.tables import Base

Key = tuple[str, str, str, str]


class SafetyCount(Base):
    """A number. `month` is 2026-11, in UTC."""

    __tablename__ = "safety_counts"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    category: Mapped[str] = mapped_column(String(32), primary_key=True)
    level: Mapped[str] = mapped_column(String(16), primary_key=True)
    action: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


_KEY = (SafetyCount.month, SafetyCount.category, SafetyCount.level, SafetyCount.action)


async def add_count(engine: AsyncEngine, key: Key) -> None:
    """Count one more for this month, category, level and action."""
    month, category, level, action = key
    new = upsert(SafetyCount, engine.dialect.name).values(
        month=month, category=category, level=level, action=action, number=1
    )
    more = new.on_conflict_do_update(
        index_elements=["month", "category", "level", "action"], set_={"number": SafetyCount.number + 1}
    )
    async with engine.begin() as connection:
        await connection.execute(more)


async def read_counts(engine: AsyncEngine, year: int) -> Mapping[Key, int]:
    """The numbers of a year."""
    query = select(*_KEY, SafetyCount.number).where(SafetyCount.month.like(f"{year:04d}-%"))
    async with engine.connect() as connection:
        rows = (await connection.execute(query)).all()
    return {(row[0], row[1], row[2], row[3]): row[4] for row in rows}
