"""Stored answers of outside services, which save requests and serve as fallback while a service is down."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.services.tables import OutsideAnswer

MAX_AGE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer, and its time."""

    document: Any
    fetched_at: datetime


class SqlAnswers:
    """Answers in SQL.

    Args:
        engine: the pool.
        now: the time, aware.

    """

    def __init__(self, engine: AsyncEngine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    async def load(self, key: str) -> KeptAnswer | None:
        """The last answer, at most MAX_AGE old; None if there is none."""
        query = select(OutsideAnswer.document, OutsideAnswer.fetched_at).where(
            OutsideAnswer.key == key[:200], OutsideAnswer.fetched_at > self._now() - MAX_AGE
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else KeptAnswer(*row)

    async def save(self, key: str, document: Any) -> None:
        """Store it with the current time."""
        values = {"document": document, "fetched_at": self._now()}
        async with self._engine.begin() as connection:
            new = upsert(OutsideAnswer, connection.dialect.name).values(key=key[:200], **values)
            await connection.execute(new.on_conflict_do_update(index_elements=["key"], set_=values))
