"""/api/v1/personality: the questionnaire, the person's answers and scores, corrections and deletion."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agents.personality.items import ANSWERS, ITEMS, TRAITS, Trait
from agents.personality.profile import NUMBERS, Personality, key_of, load_personality, save_personality
from agents.personality.scores import Score, Source, scores_of
from agents.personality.signals import MAX_READ, MIN_MESSAGES, evidence_of
from agents.personality.use import lambda_of, tone_of
from memory.schemas import Accepted
from serving.errors import InvalidRequest, MemoryChanged
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.dependencies import Gateway
from serving.routes.memory.common import Access, User
from storage.memory.conversations import own_words
from storage.memory.owner import Owner

router = APIRouter(tags=["personality"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)
TRIES = 3  # when two requests change it at once
Answer = Annotated[int, Field(ge=1, le=5)]


class ItemAnswer(BaseModel):
    """A phrase; `answer` is the person's, null without one."""

    number: int
    text: str
    trait: Trait
    answer: int | None


class ItemList(BaseModel):
    """All phrases; `answers` are the meanings of the numbers, from 1."""

    object: Literal["list"] = "list"
    source: str = "Mini-IPIP, public domain: https://ipip.ori.org/MiniIPIPKey.htm"
    answers: list[str]
    data: list[ItemAnswer]


class Answers(Accepted):
    """Answers by the number of their phrase; other answers stay as they are."""

    answers: dict[int, Answer] = Field(min_length=1, max_length=len(ITEMS))


class Correction(Accepted):
    """Scores that the person sets, which override all others; null removes one.

    `reads_language`: whether the person's writing may influence the scores.
    """

    scores: dict[Trait, Annotated[float, Field(ge=1, le=5)] | None] = Field(default_factory=dict)
    reads_language: bool | None = None


class ScoreAnswer(BaseModel):
    """A trait, from 1 to 5, with its 95 % interval; `source` is where it comes from."""

    trait: Trait
    estimate: float
    low: float
    high: float
    source: Source
    items: int


class Uses(BaseModel):
    """Uses of the scores: the friend's default tone, and the weight of relevance against variety, 0 to 1."""

    tone: dict[str, str]
    ranking_lambda: float


class PersonalityAnswer(BaseModel):
    """The scores and their uses."""

    object: Literal["personality"] = "personality"
    answered: int
    of: int = len(ITEMS)
    reads_language: bool
    messages_needed: int = MIN_MESSAGES
    scores: list[ScoreAnswer]
    used_for: Uses


class Deleted(BaseModel):
    """The confirmation of a deletion."""

    object: Literal["personality.deleted"] = "personality.deleted"
    deleted: bool = True


@router.get("/api/v1/personality/items")
async def items(access: Access, user: User = None) -> ItemList:
    """List the phrases of the questionnaire with the person's answers."""
    async with access.about(user) as owner:
        profile = await load_personality(access.gateway.agents.states, owner)
    data = [
        ItemAnswer(number=item.number, text=item.text, trait=item.trait, answer=profile.answers.get(item.number))
        for item in ITEMS
    ]
    return ItemList(answers=list(ANSWERS), data=data)


@router.post("/api/v1/personality/answers")
async def answer(body: Answers, access: Access, user: User = None) -> PersonalityAnswer:
    """Store answers, one or more."""
    for number in body.answers:
        if number not in NUMBERS:
            raise InvalidRequest(f"answers.{number}: items are numbered 1 to {len(ITEMS)}.", param=f"answers.{number}")
    async with access.about(user) as owner:
        return await _changed(access.gateway, owner, answers=body.answers)


@router.get("/api/v1/personality")
async def personality(access: Access, user: User = None) -> PersonalityAnswer:
    """Return the scores and their uses."""
    async with access.about(user) as owner:
        return _response_of(await load_personality(access.gateway.agents.states, owner))


@router.put("/api/v1/personality")
async def correct(body: Correction, access: Access, user: User = None) -> PersonalityAnswer:
    """Set scores, or allow the person's writing to influence them."""
    async with access.about(user) as owner:
        return await _changed(access.gateway, owner, corrected=body.scores, reads_language=body.reads_language)


@router.delete("/api/v1/personality")
async def delete(access: Access, user: User = None) -> Deleted:
    """Delete answers, corrections and the opt-in."""
    async with access.about(user) as owner:
        await access.gateway.agents.states.delete(key_of(owner))
    return Deleted()


async def _changed(
    gateway: Gateway,
    owner: Owner,
    *,
    answers: dict[int, int] | None = None,
    corrected: dict[Trait, float | None] | None = None,
    reads_language: bool | None = None,
) -> PersonalityAnswer:
    states = gateway.agents.states
    for _ in range(TRIES):
        profile = await load_personality(states, owner)
        merged = {**profile.corrected, **(corrected or {})}
        changed = Personality(
            {**profile.answers, **(answers or {})},
            {trait: merged[trait] for trait in TRAITS if (merged.get(trait)) is not None},  # type: ignore[misc]
            profile.reads_language if reads_language is None else reads_language,
            profile.language,
            profile.version,
        )
        if changed.reads_language and not profile.reads_language:  # later the job `personality` reads it again
            words = await own_words(gateway.database, owner, limit=MAX_READ)
            changed = replace(changed, language=evidence_of(words))
        elif not changed.reads_language:
            changed = replace(changed, language={})
        if await save_personality(states, owner, changed):
            return _response_of(changed)
    raise MemoryChanged("The person's answers were changed at the same time; try again.")


def _response_of(profile: Personality) -> PersonalityAnswer:
    scores = scores_of(profile.answers, corrected=profile.corrected, language=profile.language)
    return PersonalityAnswer(
        answered=len(profile.answers),
        reads_language=profile.reads_language,
        scores=[_score(score) for score in scores],
        used_for=Uses(tone=tone_of(scores), ranking_lambda=round(lambda_of(scores), 2)),
    )


def _score(score: Score) -> ScoreAnswer:
    return ScoreAnswer(
        trait=score.trait,
        estimate=score.estimate,
        low=score.low,
        high=score.high,
        source=score.source,
        items=score.items,
    )
