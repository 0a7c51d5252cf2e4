"""POST /api/v1/recall: what of a person's past a question is about, best first, and why."""

from datetime import datetime
from typing import Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from memory.recall.token_budget import within_budget
from memory.schemas import Name, Words
from memory.service import Recalled
from serving.routes import openapi
from serving.routes.body import BYTES_PER_TOKEN, tokens_of
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Asker, OfUser
from serving.routes.memory.memories import MemoryAnswer
from storage.memory.memories import MemoryRecord

router = APIRouter(tags=["memory"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


class Question(OfUser):
    """What to look for."""

    query: Words
    speaker: Name | None = Field(
        default=None, description="who asks, as a speaker of the conversations; else the profile's name"
    )
    limit: int = Field(default=10, ge=1, le=100)
    budget_tokens: int | None = Field(
        default=None, ge=1, description=f"only what fits together, at {BYTES_PER_TOKEN} bytes a token"
    )


class SaidOf(BaseModel):
    """Where a ranker put it, from 1, and its score there; scores of different rankers cannot be compared."""

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
    """A turn or a memory, its score, what each ranker said of it, and what moved its score."""

    score: float
    rankers: dict[str, SaidOf]
    factors: dict[str, float]
    item: MemoryAnswer | FoundTurn = Field(discriminator="object")

    @classmethod
    def of(cls, recalled: Recalled) -> Self:
        """The answer that shows it."""
        ranked, record = recalled.ranked, recalled.record
        item = (
            MemoryAnswer.model_validate(record)
            if isinstance(record, MemoryRecord)
            else FoundTurn.model_validate(record, from_attributes=True)
        )
        rankers = {name: SaidOf(rank=said.rank, score=said.score) for name, said in ranked.said.items()}
        return cls(score=ranked.score, rankers=rankers, factors=dict(ranked.factors), item=item)


class FoundList(BaseModel):
    """Best first."""

    object: Literal["list"] = "list"
    data: list[Found]


@router.post("/api/v1/recall")
async def recall(body: Question, asker: Asker) -> FoundList:
    """What of a person's past a question is about."""
    async with asker.about(body.user) as owner:
        found = await asker.gateway.memory.recall(owner, body.query, limit=body.limit, asker=body.speaker)
    if body.budget_tokens is not None:
        fit = within_budget([each.ranked for each in found], body.budget_tokens, tokens_of)
        kept = {id(each) for each in fit}
        found = [each for each in found if id(each.ranked) in kept]
    return FoundList(data=[Found.of(each) for each in found])
