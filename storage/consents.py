"""The consent of people: one row for each end user of an application who has answered.

It does not know what follows from it (`serving.privacy.consent`), or who may read it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.tables import Consent


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A person's answer, and its time.

    `allow_external`: their requests may go to an external model; `allow_sensitive`: including private content, which
    has no effect without the former.
    """

    allow_external: bool
    allow_sensitive: bool
    changed_at: datetime


async def set_consent(
    engine: AsyncEngine, *, app: str, user: str, allow_external: bool, allow_sensitive: bool, now: datetime
) -> ConsentRecord:
    """Store a person's consent, replacing an earlier one."""
    values = {"allow_external": allow_external, "allow_sensitive": allow_sensitive, "changed_at": now}
    statement = upsert(Consent, engine.dialect.name).values(app=app, end_user=user, **values)
    async with engine.begin() as connection:
        await connection.execute(statement.on_conflict_do_update(index_elements=["app", "end_user"], set_=values))
    return ConsentRecord(allow_external, allow_sensitive, now)


async def find_consent(engine: AsyncEngine, *, app: str, user: str) -> ConsentRecord | None:
    """Return a person's consent; None if they were never asked, or it was deleted."""
    query = select(Consent.allow_external, Consent.allow_sensitive, Consent.changed_at)
    async with engine.connect() as connection:
        row = (await connection.execute(query.where(Consent.app == app, Consent.end_user == user))).one_or_none()
    return None if row is None else ConsentRecord(*row)


async def forget_consent(engine: AsyncEngine, *, app: str, user: str) -> None:
    """Delete a person's consent, as if they had never been asked."""
    async with engine.begin() as connection:
        await connection.execute(delete(Consent).where(Consent.app == app, Consent.end_user == user))
