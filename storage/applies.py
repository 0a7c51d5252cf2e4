"""The record of applies: who changed which version's share of the requests, when, and how that ended. Rows only come.

A row is written when a change has ended, well or not. `document` is what then served (`serving.cluster.manifest`), for
`bondhu rollback`; it is None where a change failed. It does not know what is in a document.
"""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, String, Text, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import Base, UtcDateTime, one_of

ApplyAction = Literal["apply", "rollback", "restore"]


class Apply(Base):
    """One change of what serves. `versions` are those of the routing table."""

    __tablename__ = "applies"
    __table_args__ = (one_of("action", ApplyAction, "action"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(16))
    failure: Mapped[str | None] = mapped_column(Text)
    versions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    document: Mapped[dict[str, Any] | None] = mapped_column(JSON)


async def add_apply(
    engine: AsyncEngine,
    *,
    at: datetime,
    by: str,
    action: ApplyAction,
    failure: str | None,
    versions: list[dict[str, Any]],
    document: dict[str, Any] | None,
) -> None:
    """Add a row."""
    row = {
        "at": at,
        "by": by,
        "action": action,
        "failure": failure,
        "versions": versions,
        "document": document,
    }
    async with engine.begin() as connection:
        await connection.execute(Apply.__table__.insert(), row)  # type: ignore[attr-defined]


async def read_applies(engine: AsyncEngine, *, limit: int = 20) -> list[dict[str, Any]]:
    """The newest rows first, without their documents."""
    columns = (Apply.id, Apply.at, Apply.by, Apply.action, Apply.failure, Apply.versions)
    async with engine.connect() as connection:
        rows = await connection.execute(select(*columns).order_by(Apply.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]


async def read_documents(engine: AsyncEngine, *, limit: int = 20) -> list[tuple[int, dict[str, Any]]]:
    """The newest documents that served, with the ids of their rows."""
    query = select(Apply.id, Apply.document).where(Apply.failure.is_(None)).order_by(Apply.id.desc()).limit(limit)
    async with engine.connect() as connection:
        return [(row[0], row[1]) for row in await connection.execute(query) if row[1] is not None]
