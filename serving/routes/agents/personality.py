"""/api/v1/personality: the phrases, the person's answers, what is made of them; corrected, and deleted at once."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agents.personality.items import ANSWERS, ITEMS, TRAITS, Trait
from agents.personality.profile import NUMBERS, Personality, key_of, load_personality, save_personality
from agents.personality.scores import Score, Source, scores_of
from agents.personality.signals import MIN_MESSAGES, evidence_of
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
TRIES = 3  # of two who change it at once
MAX_READ = 500  # of a person's latest messages
Answer = Annotated[int, Field(ge=1, le=5)]


class ItemAnswer(BaseModel):
    """A phrase; `answer` is the person's, if they gave one."""

    number: int
    text: str
    trait: Trait
    answer: int | None


class ItemList(BaseModel):
    """All phrases, and what the numbers mean, from 1."""

    object: Literal["list"] = "list"
    source: str = "Mini-IPIP, public domain: https://ipip.ori.org/MiniIPIPKey.htm"
    answers: list[str]
    data: list[ItemAnswer]


class Answers(Accepted):
    """Answers by the phrase's number; those that are not named stay as they are."""

    answers: dict[int, Answer] = Field(min_length=1, max_length=len(ITEMS))


class Correction(Accepted):
    """What the person says of themselves, which outranks everything; null takes it back.

    `reads_language`: whether their way of writing may count a little.
    """

    scores: dict[Trait, Annotated[float, Field(ge=1, le=5)] | None] = Field(default_factory=dict)
    reads_language: bool | None = None


class ScoreAnswer(BaseModel):
    """A trait, from 1 to 5, with its 95 % interval; `source` says what it was made of."""

    trait: Trait
    estimate: float
    low: float
    high: float
    source: Source
    items: int


class Uses(BaseModel):
    """What follows: the friend's tone, where the person chose none; how much fitting counts beside variety, 0 to 1."""

    tone: dict[str, str]
    ranking_lambda: float


class PersonalityAnswer(BaseModel):
    """All that is made of it."""

    object: Literal["personality"] = "personality"
    answered: int
    of: int = len(ITEMS)
    reads_language: bool
    messages_needed: int = MIN_MESSAGES
    scores: list[ScoreAnswer]
    used_for: Uses


class Deleted(BaseModel):
    """It is gone."""

    object: Literal["personality.deleted"] = "personality.deleted"
    deleted: bool = True


@router.get("/api/v1/personality/items")
async def items(access: Access, user: User = None) -> ItemList:
    """The phrases of the questionnaire, and what the person answered."""
    async with access.about(user) as owner:
        known = await load_personality(access.gateway.agents.states, owner)
    data = [
        ItemAnswer(number=each.number, text=each.text, trait=each.trait, answer=known.answers.get(each.number))
        for each in ITEMS
    ]
    return ItemList(answers=list(ANSWERS), data=data)


@router.post("/api/v1/personality/answers")
async def answer(body: Answers, access: Access, user: User = None) -> PersonalityAnswer:
    """Take answers in, one or all."""
    for number in body.answers:
        if number not in NUMBERS:
            raise InvalidRequest(f"answers.{number}: items are numbered 1 to {len(ITEMS)}.", param=f"answers.{number}")
    async with access.about(user) as owner:
        return await _changed(access.gateway, owner, answers=body.answers)


@router.get("/api/v1/personality")
async def personality(access: Access, user: User = None) -> PersonalityAnswer:
    """What is made of the answers, and what follows from it."""
    async with access.about(user) as owner:
        return await _shown(access.gateway, owner, await load_personality(access.gateway.agents.states, owner))


@router.put("/api/v1/personality")
async def correct(body: Correction, access: Access, user: User = None) -> PersonalityAnswer:
    """Say otherwise, or allow that the person's language counts a little."""
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
        known = await load_personality(states, owner)
        own = {**known.corrected, **(corrected or {})}
        changed = Personality(
            {**known.answers, **(answers or {})},
            {trait: own[trait] for trait in TRAITS if (own.get(trait)) is not None},  # type: ignore[misc]
            known.reads_language if reads_language is None else reads_language,
            known.version,
        )
        if await save_personality(states, owner, changed):
            return await _shown(gateway, owner, changed)
    raise MemoryChanged("The person's answers change at this moment; ask again.")


async def _shown(gateway: Gateway, owner: Owner, known: Personality) -> PersonalityAnswer:
    language = {}
    if known.reads_language:
        language = evidence_of(await own_words(gateway.database, owner, limit=MAX_READ))
    scores = scores_of(known.answers, corrected=known.corrected, language=language)
    return PersonalityAnswer(
        answered=len(known.answers),
        reads_language=known.reads_language,
        scores=[_score(each) for each in scores],
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
