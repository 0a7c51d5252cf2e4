"""The tables of what services outside told, and of what was used by day. Neither is anybody's."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Date, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, UtcDateTime


class OutsideAnswer(Base):
    """What a service told in answer to a question that names nobody, shared by all who ask the same."""

    __tablename__ = "outside_answers"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    document: Mapped[Any] = mapped_column(JSON)
    fetched_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index(None, "fetched_at"),)


class AppDay(Base):
    """What an application's people used on a day (UTC), in numbers that name nobody: so it stays when one is forgotten.

    `people` were there, `new_people` of them for the first time; of those who were new one, seven and thirty days
    before, `returned_1`, `returned_7` and `returned_30` were there again. `agents` counts requests by model id.
    """

    __tablename__ = "app_days"

    app: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    people: Mapped[int]
    new_people: Mapped[int]
    returned_1: Mapped[int]
    returned_7: Mapped[int]
    returned_30: Mapped[int]
    requests: Mapped[int]
    sessions: Mapped[int]
    seconds: Mapped[int] = mapped_column(BigInteger)
    agents: Mapped[dict[str, Any]] = mapped_column(JSON)
    counted_at: Mapped[datetime] = mapped_column(UtcDateTime)
