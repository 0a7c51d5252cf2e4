"""/api/v1/memories: list, search, read, add, change, pin, delete."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from memory.language.folding import containing
from memory.schemas import Accepted, Id, Memory, Moment, Name, StoredMemory, Tag, Tags, Words
from serving.errors import UnknownMemory
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, OfUser, User
from serving.routes.memory.erasure import ReceiptAnswer
from storage.memory.memories import MemoryFilter, MemoryRecord, find_memories, list_memories
from storage.memory.summaries import sources_of
from storage.memory.tables import MemoryKind, Sensitivity

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

PathId = Annotated[Id, Path()]
MAX_FORMER = 1000


class MemoryAnswer(StoredMemory):
    """A memory; `changed_in` increases with each change."""

    object: Literal["memory"] = "memory"
    changed_in: int
    updated_at: datetime

    @classmethod
    def of(cls, record: MemoryRecord, sources: Mapping[str, Sequence[str]]) -> Self:
        """The API object of a memory; `sources` of summaries by their id."""
        return cls.model_validate(asdict(record) | {"sources": sources.get(record.id, ())})


class MemoryList(BaseModel):
    """A page of memories, newest first; pass its last id as `after` for the next page."""

    object: Literal["list"] = "list"
    data: list[MemoryAnswer]
    has_more: bool


class Remember(OfUser, Memory):
    """A memory to add."""

    id: Id | None = Field(default=None, description="an id of your choice, for idempotent requests; none: a new id")
    supersedes: Id | None = Field(default=None, description="id of the memory that this one replaces")


class Change(Accepted):
    """Changes of a memory; other fields stay. The defaults are not used, they only make fields optional."""

    user: Name | None = None
    changed_in: int | None = Field(default=None, description="refuse (409) if the memory has another `changed_in`")
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
    tags: Tags = Field(default_factory=tuple)
    persona: Name | None = None
    conversation: Name | None = None


@router.get("/api/v1/memories")
async def memories(
    access: Access,
    user: User = None,
    kind: Annotated[list[MemoryKind] | None, Query(description="any of these kinds")] = None,
    search: Annotated[Words | None, Query(description="in text or quote, ignoring case and accents")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="happened, or was stored, at or after")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="happened, or was stored, before")] = None,
    holding_at: Annotated[Moment | None, Query(description="valid at this time")] = None,
    pinned: Annotated[bool | None, Query()] = None,
    muted: Annotated[bool | None, Query()] = None,
    tag: Annotated[list[Tag] | None, Query(description="with any of these tags")] = None,
    persona: Annotated[Name | None, Query(description="that belong to this persona")] = None,
    conversation: Annotated[Name | None, Query(description="that belong to this conversation")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[Id | None, Query(description="the last id of the previous page")] = None,
) -> MemoryList:
    """List a person's memories in pages, newest first. To search by meaning, use POST /api/v1/recall."""
    filters = MemoryFilter(
        kinds=kind,
        has_text=None if search is None else containing(search),
        since=since,
        until=until,
        holding_at=holding_at,
        pinned=pinned,
        muted=muted,
        tags=tag,
        persona=persona,
        conversation=conversation,
    )
    async with access.about(user) as owner:
        records = await list_memories(access.gateway.database, owner, filters, limit=limit + 1, after=after)
        sources = await sources_of(access.gateway.database, owner, [record.id for record in records])
    return MemoryList(
        data=[MemoryAnswer.of(record, sources) for record in records[:limit]], has_more=len(records) > limit
    )


@router.post(
    "/api/v1/memories", status_code=201, responses={200: {"description": "It existed.", "model": MemoryAnswer}}
)
async def remember(body: Remember, access: Access, response: Response) -> MemoryAnswer:
    """Add a memory."""
    async with access.about(body.user) as owner:
        record, is_new = await access.gateway.memory.add(owner, body.as_new(), id_=body.id, supersedes=body.supersedes)
        response.status_code = 201 if is_new else 200
    return MemoryAnswer.model_validate(record)


@router.get("/api/v1/memories/{id}")
async def memory(id: PathId, access: Access, user: User = None) -> MemoryAnswer:  # noqa: A002 - the path's name for it
    """One memory."""
    async with access.about(user) as owner:
        records = await find_memories(access.gateway.database, owner, [id])
        if id not in records:
            raise UnknownMemory(f"This person has no memory '{id}'.")
        sources = await sources_of(access.gateway.database, owner, [id])
    return MemoryAnswer.of(records[id], sources)


@router.get("/api/v1/memories/{id}/former")
async def former(id: PathId, access: Access, user: User = None) -> MemoryList:  # noqa: A002
    """What a memory said before it was edited: its former texts, each valid until the edit."""
    database = access.gateway.database
    async with access.about(user) as owner:
        if id not in await find_memories(database, owner, [id]):
            raise UnknownMemory(f"This person has no memory '{id}'.")
        records = await list_memories(database, owner, MemoryFilter(former_of=id), limit=MAX_FORMER)
    newest_first = sorted(records, key=lambda record: record.changed_in, reverse=True)
    return MemoryList(data=[MemoryAnswer.of(record, {}) for record in newest_first], has_more=False)


@router.patch("/api/v1/memories/{id}")
async def change(id: PathId, body: Change, access: Access) -> MemoryAnswer:  # noqa: A002
    """Change, pin or mute a memory."""
    changes = body.model_dump(include=body.model_fields_set - {"user", "changed_in"})
    async with access.about(body.user) as owner:
        record = await access.gateway.memory.edit(owner, id, changes, changed_in=body.changed_in)
        sources = await sources_of(access.gateway.database, owner, [id])
    return MemoryAnswer.of(record, sources)


@router.delete("/api/v1/memories/{id}")
async def forget_memory(id: PathId, access: Access, user: User = None) -> ReceiptAnswer:  # noqa: A002
    """Delete a memory; the messages that it was extracted from stay (DELETE /api/v1/conversations)."""
    async with access.about(user) as owner:
        return ReceiptAnswer.of(await access.gateway.forgetter.memory(owner, id), owner, f"memory {id}")
