"""The queue of jobs: SQL is the source of truth; the broker carries only ids, so losing it loses no job.

The worker that runs a job holds a lease on it: `running` until `due_at`. It locks the person for this kind, because
there is only one unfinished job of a kind for each. An expired lease passes to the next worker; later writes of the
previous one, or of a cancelled job, are refused by the attempt number (a fencing token: M. Kleppmann, "How to do
distributed locking", 2016).

    queued ──claim──▶ running ──finish──▶ done
      ▲  └──cancel──▶ cancelled ◀──cancel──┘ │
      └──────fail, lease runs out────────────┴──▶ dead ──retry──▶ queued

Workers look for jobs of all people, and find a job by its random id: only here, in `storage.jobs.board`, and in
`storage.memory.unread_turns`, statements do not start with an owner. It does not know what jobs do.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.agents import tables as agent_tables  # noqa: F401 - their tables belong to the metadata
from storage.database import upsert
from storage.jobs.kinds import PRIORITIES, kind_of, params_of
from storage.media import tables as media_tables  # noqa: F401 - their tables belong to the metadata
from storage.memory.owner import Owner
from storage.memory.tables import UNDONE, Job, JobSlot, Person
from storage.services import tables as service_tables  # noqa: F401 - their tables belong to the metadata
from storage.tables import Base

LOST = "lost"  # an attempt of which nothing was heard: the process died
AGED = timedelta(hours=1)
SERVICE = Owner("", "")  # the owner of jobs that belong to no person


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job, as its attempt number `attempt` (from 1)."""

    id: str
    owner: Owner
    attempt: int
    kind: str = "extract"
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job to send to a worker; `priority` is the position of its queue (`storage.jobs.kinds.PRIORITIES`)."""

    id: str
    priority: int


async def add_job(
    engine: AsyncEngine,
    owner: Owner,
    kind: str,
    *,
    now: datetime,
    params: Mapping[str, Any] | None = None,
    slot: str | None = None,
    is_urgent: bool = False,
) -> str | None:
    """Queue a job; returns its id, or None if one of this kind is unfinished or the person has no data for it.

    `slot` is a slot of the schedule, comparable as a string: no job is added for a past slot, or one that had its job.
    `is_urgent`: a person waits for it. Raises UnknownKind, ValidationError.
    """
    spec = kind_of(kind)
    row = {
        **owner.columns,
        "id": secrets.token_hex(16),
        "kind": kind,
        "state": "queued",
        "priority": 0 if is_urgent else PRIORITIES.index(spec.priority),
        "params": params_of(spec, params or {}),
        "attempts": 0,
        "due_at": now,
        "created_at": now,
        "updated_at": now,
    }
    async with engine.begin() as connection:
        if spec.of == "person":
            # First the row that erasure takes first, so that nobody is brought back who is being forgotten.
            theirs = await connection.execute(owner.update(Person).values(version=Person.version))
            if spec.needs == Person.__tablename__ and not theirs.rowcount:
                return None
            if spec.needs and not await _has(connection, owner, spec.needs):
                return None
        if slot is not None and not await _take_slot(connection, owner, kind, slot):
            return None
        new = upsert(Job, engine.dialect.name).values(**row)
        new = new.on_conflict_do_nothing(index_elements=["app", "end_user", "kind"], index_where=UNDONE)
        added = await connection.execute(new.returning(Job.id))
        return added.scalar_one_or_none()


async def find_due(
    engine: AsyncEngine, *, now: datetime, limit: int, kinds: Collection[str] | None = None
) -> list[DueJob]:
    """Up to `limit` due jobs, the most urgent first; lost ones are queued again before.

    `kinds`: only these. A job that has waited for AGED counts as urgent, so urgent ones cannot starve others.
    """
    lost = update(Job).where(Job.state == "running", Job.due_at <= now)
    priority = case((Job.updated_at <= now - AGED, 0), else_=Job.priority).label("urgency")
    due = select(Job.id, priority).where(Job.state == "queued", Job.due_at <= now)
    if kinds is not None:
        due = due.where(Job.kind.in_(kinds))
    due = due.order_by(priority, Job.due_at).limit(limit)
    async with engine.begin() as connection:
        await connection.execute(lost.values(state="queued", error=LOST, updated_at=now))
        return [DueJob(*row) for row in await connection.execute(due)]


async def note_sent(engine: AsyncEngine, ids: Sequence[str], *, now: datetime, again_at: datetime) -> None:
    """Record that these were sent; jobs that no worker takes are due again at `again_at`."""
    waiting = update(Job).where(Job.id.in_(ids), Job.state == "queued", Job.due_at <= now)
    async with engine.begin() as connection:
        await connection.execute(waiting.values(due_at=again_at))


async def send_again(engine: AsyncEngine, id_: str, *, at: datetime) -> None:
    """Make a queued job due at `at`; nothing happens to a job in any other state."""
    async with engine.begin() as connection:
        await connection.execute(update(Job).where(Job.id == id_, Job.state == "queued").values(due_at=at))


async def kind_of_job(engine: AsyncEngine, id_: str) -> str | None:
    """The kind of a job; None if it does not exist."""
    async with engine.connect() as connection:
        return (await connection.execute(select(Job.kind).where(Job.id == id_))).scalar_one_or_none()


async def claim_job(
    engine: AsyncEngine, id_: str, *, now: datetime, until: datetime, max_attempts: int
) -> Claim | None:
    """Claim a queued job until `until`; None if it is not available (any more).

    A job that was lost in its last attempt is given up instead, because it may be what kills its workers.
    """
    queued = and_(Job.id == id_, Job.state == "queued")
    spent = update(Job).where(queued, Job.attempts >= max_attempts).values(state="dead", updated_at=now)
    taking = update(Job).where(queued)
    taking = taking.values(state="running", attempts=Job.attempts + 1, due_at=until, updated_at=now)
    columns = (Job.app, Job.end_user, Job.attempts, Job.kind, Job.params)
    async with engine.begin() as connection:
        await connection.execute(spent)
        row = (await connection.execute(taking.returning(*columns))).one_or_none()
    return None if row is None else Claim(id_, Owner(row.app, row.end_user), row.attempts, row.kind, row.params)


async def note_progress(
    engine: AsyncEngine, claim: Claim, *, now: datetime, until: datetime, done: int, of: int
) -> bool:
    """Record progress and extend the lease to `until`; False if the claim is lost: stop then."""
    going_on = claim.owner.update(Job).where(_held(claim))
    values = {"progress_done": done, "progress_of": of, "due_at": until, "updated_at": now}
    async with engine.begin() as connection:
        return (await connection.execute(going_on.values(values))).rowcount == 1


async def finish_job(
    connection: AsyncConnection,
    claim: Claim,
    *,
    now: datetime,
    error: str | None = None,
    result: Mapping[str, Any] | None = None,
) -> bool:
    """Mark it as done, within an open change; False if the claim is lost: undo the change then."""
    ending = claim.owner.update(Job).where(_held(claim))
    found = None if result is None else dict(result)
    values = {"state": "done", "error": error, "result": found, "progress_done": Job.progress_of, "updated_at": now}
    return (await connection.execute(ending.values(values))).rowcount == 1


async def fail_job(
    engine: AsyncEngine, claim: Claim, error: str, *, now: datetime, again_at: datetime, max_attempts: int
) -> None:
    """Retry it at `again_at`, or give it up after `max_attempts`; does nothing if the claim is lost."""
    state = case((Job.attempts >= max_attempts, "dead"), else_="queued")
    ending = claim.owner.update(Job).where(_held(claim))
    async with engine.begin() as connection:
        await connection.execute(ending.values(state=state, error=error[:64], due_at=again_at, updated_at=now))


async def _has(connection: AsyncConnection, owner: Owner, name: str) -> bool:
    table = Base.metadata.tables[name]
    query = select(table.c.app).where(table.c.app == owner.app, table.c.end_user == owner.user).limit(1)
    return (await connection.execute(query)).one_or_none() is not None


async def _take_slot(connection: AsyncConnection, owner: Owner, kind: str, slot: str) -> bool:
    new = upsert(JobSlot, connection.dialect.name).values(**owner.columns, kind=kind, slot=slot)
    later = new.on_conflict_do_update(
        index_elements=["app", "end_user", "kind"], set_={"slot": slot}, where=JobSlot.slot < slot
    )
    return (await connection.execute(later.returning(JobSlot.slot))).one_or_none() is not None


def _held(claim: Claim) -> ColumnElement[bool]:
    return and_(Job.id == claim.id, Job.state == "running", Job.attempts == claim.attempt)
