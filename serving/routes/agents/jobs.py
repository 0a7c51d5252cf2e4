"""/api/v1/jobs: adds, lists, shows and cancels background jobs of a person, or with an admin key of the service.

A new job is stored in SQL; the worker's next beat sends it. While a job of the same kind has not ended, adding another
returns that one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field, JsonValue, ValidationError

from memory.schemas import Accepted, Id, Name
from serving.errors import Forbidden, InvalidRequest, UnknownJob
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, MemoryAccess, User
from storage.jobs import board as job_board
from storage.jobs import queue as jobs
from storage.jobs.kinds import PRIORITIES, JobKind, UnknownKind, kind_of, params_of
from storage.memory.owner import Owner
from storage.memory.tables import JobState

router = APIRouter(tags=["jobs"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

MAX_LISTED = 100
PathJob = Annotated[Id, Path(description="a job's id")]


class JobBody(Accepted):
    """A new job; docs/jobs.md describes the `params` of each kind."""

    kind: Name
    params: dict[str, JsonValue] = Field(default_factory=dict)
    user: Name | None = Field(
        default=None, description="the person; can be set by a header. Jobs of the service have none"
    )


class Progress(BaseModel):
    """Completed steps and their total; 0 of 0: unknown."""

    done: int
    of: int


class JobCard(BaseModel):
    """A job. `error` is the type of its last failure; `result` has numbers and ids."""

    object: Literal["job"] = "job"
    id: str
    kind: str
    state: JobState
    priority: Literal["high", "normal", "low"]
    params: dict[str, Any]
    progress: Progress
    result: dict[str, Any] | None
    attempts: int
    error: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, record: job_board.JobRecord) -> Self:
        """Convert it to a response."""
        return cls(
            id=record.id,
            kind=record.kind,
            state=record.state,
            priority=PRIORITIES[record.priority],
            params=record.params,
            progress=Progress(done=record.progress_done, of=record.progress_of),
            result=record.result,
            attempts=record.attempts,
            error=record.error,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )


class JobList(BaseModel):
    """Jobs, last changed first."""

    object: Literal["list"] = "list"
    data: list[JobCard]


@router.post("/api/v1/jobs", status_code=202, responses={200: {"model": JobCard}})
async def add(body: JobBody, access: Access, response: Response) -> JobCard:
    """Add a job; if one of its kind has not ended, return that one with 200 instead of 202."""
    kind = _kind(body.kind)
    async with _about(access, kind, body.user) as owner:
        try:
            params_of(kind, body.params)
        except ValidationError as problem:
            first = problem.errors()[0]
            where = ".".join(["params", *(str(key) for key in first["loc"])])[:256]
            raise InvalidRequest(f"{where}: {first['msg'][:256]}", param=where) from problem
        database, now = access.gateway.database, access.gateway.now()
        id_ = await jobs.add_job(database, owner, kind.name, now=now, params=body.params, is_urgent=True)
        record = await _new_or_pending(access, owner, kind, id_)
        response.status_code = 202 if id_ is not None else 200
        return JobCard.of(record)


@router.get("/api/v1/jobs")
async def list_all(
    access: Access,
    user: User = None,
    state: Annotated[JobState | None, Query(description="only jobs in this state")] = None,
    kind: Annotated[
        Name | None, Query(description="only jobs of this kind; for a kind of the service, its jobs")
    ] = None,
) -> JobList:
    """List the person's jobs, completed ones for a week."""
    job_kind = None if kind is None else _kind(kind)
    async with _about(access, job_kind, user) as owner:
        records = await job_board.list_jobs(
            access.gateway.database, owner=owner, state=state, kind=kind, limit=MAX_LISTED
        )
        return JobList(data=[JobCard.of(record) for record in records])


@router.get("/api/v1/jobs/{job}")
async def show(job: PathJob, access: Access, user: User = None) -> JobCard:
    """Return one of the person's jobs."""
    async with access.about_or_service(user) as owner:
        return JobCard.of(await _find(access, job, owner))


@router.post("/api/v1/jobs/{job}/cancel")
async def cancel(job: PathJob, access: Access, user: User = None) -> JobCard:
    """Cancel a job; if it is running, its further results are dropped. An ended job stays as it is."""
    async with access.about_or_service(user) as owner:
        database = access.gateway.database
        await job_board.cancel_job(database, job, owner, now=access.gateway.now())
        return JobCard.of(await _find(access, job, owner))


@asynccontextmanager
async def _about(access: MemoryAccess, kind: JobKind | None, user: str | None) -> AsyncIterator[Owner]:
    """The owner of jobs of this kind: the person, or the service, which requires an admin key."""
    if kind is None or kind.of == "person":
        async with access.about(user) as owner:
            yield owner
        return
    async with access.counted(None):
        if not access.is_admin:
            raise Forbidden(f"kind: '{kind.name}' is a job of the service: it requires an admin key.", param="kind")
        yield jobs.SERVICE


def _kind(name: str) -> JobKind:
    try:
        return kind_of(name)
    except UnknownKind as problem:
        raise InvalidRequest(f"kind: {problem}.", param="kind") from problem


async def _find(access: MemoryAccess, id_: str, owner: Owner) -> job_board.JobRecord:
    record = await job_board.find_job(access.gateway.database, id_, owner)
    if record is None:
        raise UnknownJob(f"This person has no job '{id_}'.")
    return record


async def _new_or_pending(access: MemoryAccess, owner: Owner, kind: JobKind, id_: str | None) -> job_board.JobRecord:
    """The new job, or the pending one of its kind; raises InvalidRequest when there is nothing to do."""
    database = access.gateway.database
    if id_ is not None:
        return await _find(access, id_, owner)
    pending = await job_board.find_undone(database, owner, kind.name)
    if pending is None:
        raise InvalidRequest(f"kind: this person has no data for '{kind.name}'.", param="kind")
    return pending
