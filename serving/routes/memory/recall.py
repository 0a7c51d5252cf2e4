"""POST /api/v1/recall: search a person's turns and memories by meaning, with the ranking's details."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from memory.recall.token_budget import within_budget
from memory.schemas import Accepted, Moment, Name, Tags, Words, Zone
from memory.service import Recalled
from serving.protocol.token_estimate import BYTES_PER_TOKEN, tokens_of
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, OfUser
from serving.routes.memory.memories import MemoryAnswer
from storage.memory.listing.within import RecallFilter
from storage.memory.memories import MemoryRecord, Scope
from storage.memory.people import ZONE, zone_of
from storage.memory.summaries import sources_of
from storage.memory.tables import MemoryKind

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


class Only(Accepted):
    """What a search is limited to; each field narrows it."""

    kind: list[MemoryKind | Literal["turn"]] | None = Field(default=None, description="any of these kinds, or turns")
    conversation: Name | None = Field(
        default=None, description="turns of this conversation, and memories that quote them or belong to it"
    )
    since: Moment | None = Field(default=None, alias="from", description="said, happened, or stored at or after")
    until: Moment | None = Field(default=None, alias="to", description="said, happened, or stored before")
    tag: Tags | None = Field(default=None, description="memories with any of these tags")

    def as_filter(self) -> RecallFilter:
        """For the memory service."""
        return RecallFilter(self.kind, self.conversation, self.since, self.until, self.tag)


class Question(OfUser):
    """A query."""

    query: Words
    speaker: Name | None = Field(
        default=None, description="the speaker who asks, as in the conversations; default: the profile's name"
    )
    limit: int = Field(default=10, ge=1, le=100)
    only: Only | None = Field(default=None, description="find nothing else")
    persona: Name | None = Field(default=None, description="as whom to recall: memories of other personas are left out")
    conversation: Name | None = Field(
        default=None, description="where to recall: memories that belong to other conversations are left out"
    )
    timezone: Zone | None = Field(
        default=None, description="where the person is (IANA), for `yesterday` in the query; default: by their profile"
    )
    min_relevance: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="find nothing unless something is so relevant; default: as in chats; 0: whatever is nearest",
    )
    budget_tokens: int | None = Field(
        default=None, ge=1, description=f"maximum tokens of all results together, at {BYTES_PER_TOKEN} bytes per token"
    )


class RankerScore(BaseModel):
    """A ranker's rank, from 1, and score; scores of different rankers cannot be compared."""

    rank: int
    score: float


class FoundTurn(BaseModel):
    """A turn."""

    object: Literal["message"] = "message"
    id: str
    external_id: str
    speaker: str
    text: str
    said_at: datetime


class Found(BaseModel):
    """A turn or a memory with its score, each ranker's score, and the factors that changed it.

    `relevance` is the probability that it is relevant at all (docs/recall.md); null if the embedder is not a known one.
    `contested_by` are memories that say otherwise of the same, such as where the person lives.
    """

    score: float
    relevance: float | None = None
    contested_by: list[str] = []
    rankers: dict[str, RankerScore]
    factors: dict[str, float]
    item: MemoryAnswer | FoundTurn = Field(discriminator="object")

    @classmethod
    def of(cls, recalled: Recalled, sources: Mapping[str, Sequence[str]]) -> Self:
        """The API object of a recalled item; `sources` of summaries by their id."""
        ranked, record = recalled.ranked, recalled.record
        item = (
            MemoryAnswer.of(record, sources)
            if isinstance(record, MemoryRecord)
            else FoundTurn.model_validate(record, from_attributes=True)
        )
        rankers = {
            name: RankerScore(rank=ranking.rank, score=ranking.score) for name, ranking in ranked.by_ranker.items()
        }
        factors = dict(ranked.factors)
        return cls(
            score=ranked.score,
            relevance=ranked.relevance,
            contested_by=list(ranked.contested_by),
            rankers=rankers,
            factors=factors,
            item=item,
        )


class FoundList(BaseModel):
    """Results, best first."""

    object: Literal["list"] = "list"
    data: list[Found]


@router.post("/api/v1/recall")
async def recall(body: Question, access: Access) -> FoundList:
    """Search a person's turns and memories."""
    async with access.about(body.user) as owner:
        min_relevance = body.min_relevance
        if min_relevance is None:
            min_relevance = access.gateway.settings.memory.chat.min_relevance
        results = await access.gateway.memory.recall(
            owner,
            body.query,
            limit=body.limit,
            speaker=body.speaker,
            min_relevance=min_relevance,
            scope=Scope(body.persona, body.conversation),
            only=None if body.only is None else body.only.as_filter(),
            zone=None if body.timezone is None else zone_of({ZONE: body.timezone}),
        )
        if body.budget_tokens is not None:
            within_tokens = within_budget([item.ranked for item in results], body.budget_tokens, tokens_of)
            fitting = {id(item) for item in within_tokens}
            results = [item for item in results if id(item.ranked) in fitting]
        sources = await sources_of(access.gateway.database, owner, [item.record.id for item in results])
    return FoundList(data=[Found.of(item, sources) for item in results])
