"""POST /api/v1/recall: search a person's turns and memories by meaning, with the ranking's details."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from memory.recall.token_budget import within_budget
from memory.schemas import Name, Words
from memory.service import Recalled
from serving.protocol.token_estimate import BYTES_PER_TOKEN, tokens_of
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, OfUser
from serving.routes.memory.memories import MemoryAnswer
from storage.memory.memories import MemoryRecord
from storage.memory.summaries import sources_of

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


class Question(OfUser):
    """A query."""

    query: Words
    speaker: Name | None = Field(
        default=None, description="the speaker who asks, as in the conversations; default: the profile's name"
    )
    limit: int = Field(default=10, ge=1, le=100)
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
    """A turn or a memory with its score, each ranker's score, and the factors that changed it."""

    score: float
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
        return cls(score=ranked.score, rankers=rankers, factors=factors, item=item)


class FoundList(BaseModel):
    """Results, best first."""

    object: Literal["list"] = "list"
    data: list[Found]


@router.post("/api/v1/recall")
async def recall(body: Question, access: Access) -> FoundList:
    """Search a person's turns and memories."""
    async with access.about(body.user) as owner:
        results = await access.gateway.memory.recall(owner, body.query, limit=body.limit, speaker=body.speaker)
        if body.budget_tokens is not None:
            within_tokens = within_budget([item.ranked for item in results], body.budget_tokens, tokens_of)
            fitting = {id(item) for item in within_tokens}
            results = [item for item in results if id(item.ranked) in fitting]
        sources = await sources_of(access.gateway.database, owner, [item.record.id for item in results])
    return FoundList(data=[Found.of(item, sources) for item in results])
