"""Jobs as people and operators see them: list, show, cancel, retry, delete old ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Update, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.owner import Owner
from storage.memory.tables import ENDED, Job, JobState


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job; see `storage.memory.tables.Job`."""

    id: str
    app: str
    end_user: str
    kind: str
    state: JobState
    priority: int
    params: dict[str, Any]
    result: dict[str, Any] | None
    progress_done: int
    progress_of: int
    attempts: int
    error: str | None
    due_at: datetime
    created_at: datetime
    updated_at: datetime


async def list_jobs(
    engine: AsyncEngine,
    *,
    owner: Owner | None = None,
    state: JobState | None = None,
    kind: str | None = None,
    limit: int = 1000,
) -> list[JobRecord]:
    """At most `limit` jobs, of one owner or of all, the last changed first."""
    conditions: list[ColumnElement[bool]] = [] if owner is None else [owner.has(Job)]
    conditions += [] if state is None else [Job.state == state]
    conditions += [] if kind is None else [Job.kind == kind]
    query = select(*_COLUMNS).where(*conditions).order_by(Job.updated_at.desc(), Job.id).limit(limit)
    async with engine.connect() as connection:
        return [JobRecord(*row) for row in await connection.execute(query)]


async def find_job(engine: AsyncEngine, id_: str, owner: Owner | None = None) -> JobRecord | None:
    """The job with this id, of that owner if given; None if there is none."""
    conditions = [Job.id == id_] if owner is None else [Job.id == id_, owner.has(Job)]
    async with engine.connect() as connection:
        row = (await connection.execute(select(*_COLUMNS).where(*conditions))).one_or_none()
    return None if row is None else JobRecord(*row)


async def find_undone(engine: AsyncEngine, owner: Owner, kind: str) -> JobRecord | None:
    """The unfinished job of a kind; None if there is none."""
    query = owner.select(Job, *_COLUMNS).where(Job.kind == kind, Job.state.not_in(ENDED))
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else JobRecord(*row)


async def cancel_job(engine: AsyncEngine, id_: str, owner: Owner | None = None, *, now: datetime) -> bool:
    """Cancel an unfinished job; a running one stores nothing from now on. False if there is none."""
    conditions = [Job.id == id_, Job.state.not_in(ENDED)]
    if owner is not None:
        conditions.append(owner.has(Job))
    return await _count(engine, update(Job).where(and_(*conditions)).values(state="cancelled", updated_at=now)) == 1


async def retry_jobs(
    engine: AsyncEngine, id_: str | None = None, *, now: datetime, before: datetime | None = None
) -> int:
    """Queue dead jobs again, with all attempts restored; returns how many.

    All of them, the one with this id, or those given up before `before`.
    """
    dead = update(Job).where(Job.state == "dead")
    if id_ is not None:
        dead = dead.where(Job.id == id_)
    if before is not None:
        dead = dead.where(Job.updated_at <= before)
    return await _count(engine, dead.values(state="queued", attempts=0, due_at=now, updated_at=now))


async def prune_jobs(engine: AsyncEngine, *, before: datetime) -> int:
    """Delete finished and cancelled jobs older than that; returns how many."""
    old = delete(Job).where(Job.state.in_(ENDED), Job.updated_at < before)
    async with engine.begin() as connection:
        return (await connection.execute(old)).rowcount


async def _count(engine: AsyncEngine, change: Update) -> int:
    async with engine.begin() as connection:
        return (await connection.execute(change)).rowcount


_COLUMNS = cast("Sequence[Any]", [getattr(Job, field) for field in JobRecord.__dataclass_fields__])
