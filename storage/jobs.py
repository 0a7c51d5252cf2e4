"""Jobs: SQL knows what is to be done, a queue only carries ids of it, so a queue that is lost loses nothing.

Whoever runs a job holds a lease on it: `running` until `due_at`. That is the lock for the person, because there is one
undone job of a kind for each. A lease that ran out is given to the next, and what the one before then wants to write
is refused by the number of its attempt (a fencing token: M. Kleppmann, "How to do distributed locking", 2016).

A worker looks for work of anybody's, and finds it by the job's random id: only here, and where
`storage.memory.unread_turns` looks whose turn it is, do statements not start with an owner. It does not know what jobs
do.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database import upsert
from storage.memory.owner import Owner
from storage.memory.tables import UNDONE, Job, JobKind, JobState

LOST = "lost"  # an attempt of which nothing was heard: the process died


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job; see `storage.memory.tables.Job`."""

    id: str
    app: str
    end_user: str
    kind: JobKind
    state: JobState
    attempts: int
    error: str | None
    due_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job, as its attempt number `attempt` (from 1)."""

    id: str
    owner: Owner
    attempt: int


async def add_job(engine: AsyncEngine, owner: Owner, kind: JobKind, *, now: datetime) -> str | None:
    """Queue a job; its id. None when one of this kind is not done yet, or nothing of the person's is there."""
    times = {"due_at": now, "created_at": now, "updated_at": now}
    new = upsert(Job, engine.dialect.name).values(
        **owner.columns, id=secrets.token_hex(16), kind=kind, state="queued", attempts=0, error=None, **times
    )
    new = new.on_conflict_do_nothing(index_elements=["app", "end_user", "kind"], index_where=UNDONE)
    try:
        async with engine.begin() as connection:
            added = await connection.execute(new.returning(Job.id))
            return added.scalar_one_or_none()
    except IntegrityError:  # the person was forgotten in this moment
        return None


async def find_due(engine: AsyncEngine, *, now: datetime, limit: int) -> list[str]:
    """The ids of up to `limit` queued jobs that are due; lost ones are queued again before."""
    lost = update(Job).where(Job.state == "running", Job.due_at <= now)
    due = select(Job.id).where(Job.state == "queued", Job.due_at <= now).order_by(Job.due_at).limit(limit)
    async with engine.begin() as connection:
        await connection.execute(lost.values(state="queued", error=LOST, updated_at=now))
        return list((await connection.execute(due)).scalars())


async def note_sent(engine: AsyncEngine, ids: Sequence[str], *, now: datetime, again_at: datetime) -> None:
    """Note that these were sent; those that nobody takes are due again at `again_at`."""
    waiting = update(Job).where(Job.id.in_(ids), Job.state == "queued", Job.due_at <= now)
    async with engine.begin() as connection:
        await connection.execute(waiting.values(due_at=again_at))


async def claim_job(
    engine: AsyncEngine, id_: str, *, now: datetime, until: datetime, max_attempts: int
) -> Claim | None:
    """Take a queued job, to be done by `until`; None when it is not there to be taken (any more).

    One that has had its attempts, and was lost in the last, is given up instead: it may be what kills its workers.
    """
    queued = and_(Job.id == id_, Job.state == "queued")
    spent = update(Job).where(queued, Job.attempts >= max_attempts).values(state="dead", updated_at=now)
    taking = update(Job).where(queued)
    taking = taking.values(state="running", attempts=Job.attempts + 1, due_at=until, updated_at=now)
    async with engine.begin() as connection:
        await connection.execute(spent)
        row = (await connection.execute(taking.returning(Job.app, Job.end_user, Job.attempts))).one_or_none()
    return None if row is None else Claim(id_, Owner(row.app, row.end_user), row.attempts)


async def finish_job(connection: AsyncConnection, claim: Claim, *, now: datetime, error: str | None = None) -> bool:
    """Call it done, within a change that has begun; False when it is not the claim's any more: undo the change."""
    ending = claim.owner.update(Job).where(_held(claim))
    return (await connection.execute(ending.values(state="done", error=error, updated_at=now))).rowcount == 1


async def fail_job(
    engine: AsyncEngine, claim: Claim, error: str, *, now: datetime, again_at: datetime, max_attempts: int
) -> None:
    """Have it tried again at `again_at`, or give it up after `max_attempts`; nothing if it is not the claim's."""
    state = case((Job.attempts >= max_attempts, "dead"), else_="queued")
    ending = claim.owner.update(Job).where(_held(claim))
    async with engine.begin() as connection:
        await connection.execute(ending.values(state=state, error=error[:64], due_at=again_at, updated_at=now))


async def list_jobs(engine: AsyncEngine, *, state: JobState | None = None, limit: int = 1000) -> list[JobRecord]:
    """At most `limit` jobs of anybody's, the latest change first."""
    columns = [getattr(Job, field) for field in JobRecord.__dataclass_fields__]
    query = select(*columns).order_by(Job.updated_at.desc(), Job.id).limit(limit)
    if state is not None:
        query = query.where(Job.state == state)
    async with engine.connect() as connection:
        return [JobRecord(*row) for row in await connection.execute(query)]


async def retry_jobs(
    engine: AsyncEngine, id_: str | None = None, *, now: datetime, before: datetime | None = None
) -> int:
    """Queue dead jobs again, with all their attempts; how many there were.

    All of them, or the one with this id, or those that were given up `before` then.
    """
    dead = update(Job).where(Job.state == "dead")
    if id_ is not None:
        dead = dead.where(Job.id == id_)
    if before is not None:
        dead = dead.where(Job.updated_at <= before)
    again = dead.values(state="queued", attempts=0, due_at=now, updated_at=now)
    async with engine.begin() as connection:
        return (await connection.execute(again)).rowcount


async def prune_jobs(engine: AsyncEngine, *, before: datetime) -> None:
    """Delete those that were done before then."""
    async with engine.begin() as connection:
        await connection.execute(delete(Job).where(Job.state == "done", Job.updated_at < before))


def _held(claim: Claim) -> ColumnElement[bool]:
    return and_(Job.id == claim.id, Job.state == "running", Job.attempts == claim.attempt)
