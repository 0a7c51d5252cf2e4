"""/api/v1/memories: list, search, read, add, change, pin, delete."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from memory.schemas import Accepted, Id, Memory, Moment, Name, StoredMemory, Words
from serving.errors import UnknownMemory
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Asker, OfUser, User
from serving.routes.memory.erasure import ReceiptAnswer
from storage.memory.memories import Wanted, find_memories, list_memories
from storage.memory.tables import MemoryKind, Sensitivity

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

PathId = Annotated[Id, Path()]


class MemoryAnswer(StoredMemory):
    """A memory. `changed_in` grows with each change of it."""

    object: Literal["memory"] = "memory"
    changed_in: int
    updated_at: datetime


class MemoryList(BaseModel):
    """A page, newest first; the next one comes after its last id."""

    object: Literal["list"] = "list"
    data: list[MemoryAnswer]
    has_more: bool


class Remember(OfUser, Memory):
    """A memory to add."""

    id: Id | None = Field(default=None, description="of your choosing: sent twice, it is one memory; none: one is made")
    supersedes: Id | None = Field(default=None, description="the memory that ends where this begins")


class Change(Accepted):
    """What to change of a memory; what is not named stays. Defaults are never used: they only make a field optional."""

    user: Name | None = None
    changed_in: int | None = Field(default=None, description="refuse (409) when the memory is not at this any more")
    text: Words = Field(default_factory=str)
    kind: MemoryKind = Field(default_factory=lambda: "fact")
    speaker: Name | None = None
    quote: Words | None = None
    message_id: Id | None = None
    event_at: Moment | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    confidence: float = Field(default_factory=float, ge=0, le=1)
    sensitivity: Sensitivity = Field(default_factory=lambda: "ordinary")
    pinned: bool = Field(default_factory=bool)
    painful_at: Moment | None = None
    muted: bool = Field(default_factory=bool)


@router.get("/api/v1/memories")
async def memories(
    asker: Asker,
    user: User = None,
    kind: Annotated[list[MemoryKind] | None, Query(description="any of these kinds")] = None,
    search: Annotated[Words | None, Query(description="in text or quote, whatever the case")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="happened, or was stored, at or after")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="happened, or was stored, before")] = None,
    holding_at: Annotated[Moment | None, Query(description="holds at this instant")] = None,
    pinned: Annotated[bool | None, Query()] = None,
    muted: Annotated[bool | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[Id | None, Query(description="the last id of the page before")] = None,
) -> MemoryList:
    """A person's memories, newest first, in pages. To find them by meaning: POST /api/v1/recall."""
    wanted = Wanted(kind, search, since, until, holding_at, pinned, muted)
    async with asker.about(user) as owner:
        found = await list_memories(asker.gateway.database, owner, wanted, limit=limit + 1, after=after)
    return MemoryList(data=[MemoryAnswer.model_validate(each) for each in found[:limit]], has_more=len(found) > limit)


@router.post(
    "/api/v1/memories", status_code=201, responses={200: {"description": "It was there.", "model": MemoryAnswer}}
)
async def remember(body: Remember, asker: Asker, response: Response) -> MemoryAnswer:
    """Add a memory."""
    async with asker.about(body.user) as owner:
        record, is_new = await asker.gateway.memory.add(owner, body.as_new(), id_=body.id, supersedes=body.supersedes)
        response.status_code = 201 if is_new else 200
    return MemoryAnswer.model_validate(record)


@router.get("/api/v1/memories/{id}")
async def memory(id: PathId, asker: Asker, user: User = None) -> MemoryAnswer:  # noqa: A002 - the path's name for it
    """One memory."""
    async with asker.about(user) as owner:
        found = await find_memories(asker.gateway.database, owner, [id])
        if id not in found:
            raise UnknownMemory(f"This person has no memory '{id}'.")
    return MemoryAnswer.model_validate(found[id])


@router.patch("/api/v1/memories/{id}")
async def change(id: PathId, body: Change, asker: Asker) -> MemoryAnswer:  # noqa: A002
    """Change a memory, pin it, or mark it."""
    changes = body.model_dump(include=body.model_fields_set - {"user", "changed_in"})
    async with asker.about(body.user) as owner:
        record = await asker.gateway.memory.edit(owner, id, changes, changed_in=body.changed_in)
    return MemoryAnswer.model_validate(record)


@router.delete("/api/v1/memories/{id}")
async def forget_memory(id: PathId, asker: Asker, user: User = None) -> ReceiptAnswer:  # noqa: A002
    """Forget a memory; what it was drawn from stays (DELETE /api/v1/conversations)."""
    async with asker.about(user) as owner:
        return ReceiptAnswer.of(await asker.gateway.forgetter.memory(owner, id))
