"""/api/v1/personas: who the friend can be, and what a person chose for good."""

import random
import time
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from agents.base import InvalidParams, RunContext
from agents.budget import RunBudget
from agents.chat.agent import ChatAgent
from memory.schemas import Accepted, Name
from serving.errors import InvalidRequest, UnknownModel
from serving.generation.agent import FRIEND
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.dependencies import Gateway
from serving.routes.memory.common import Asker, User
from storage.memory.owner import Owner

router = APIRouter(tags=["agents"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


class ToneBody(Accepted):
    """How the friend speaks; what is not named stays the persona's."""

    warmth: Literal["calm", "warm", "cheerful"] | None = None
    humour: Literal["none", "light", "playful"] | None = None
    formality: Literal["casual", "neutral", "polite"] | None = None
    length: Literal["short", "medium", "long"] | None = None


class PersonaCard(BaseModel):
    """A persona, and the tone that it has by itself."""

    object: Literal["persona"] = "persona"
    id: str
    name: str
    description: str
    greeting: str
    tone: ToneBody


class Choice(Accepted):
    """A persona and changes to its tone."""

    persona: Name | None = None
    tone: ToneBody = ToneBody()


class PersonaList(BaseModel):
    """All personas; `chosen` is the person's, where the request names one."""

    object: Literal["list"] = "list"
    data: list[PersonaCard]
    chosen: Choice


@router.get("/api/v1/personas")
async def personas(asker: Asker, user: User = None) -> PersonaList:
    """The personas, and what the person chose."""
    async with asker.about(user) as owner:
        friend = _friend(asker.gateway)
        chosen = await friend.preferred(_context(asker.gateway, owner))
    return PersonaList(
        data=[
            PersonaCard(
                id=each.id,
                name=each.name,
                description=each.description,
                greeting=each.greeting,
                tone=ToneBody.model_validate(each.tone.model_dump()),
            )
            for each in friend.personas
        ],
        chosen=Choice.model_validate(dict(chosen)),
    )


@router.put("/api/v1/personas")
async def choose(body: Choice, asker: Asker, user: User = None) -> Choice:
    """Choose one, and tune its tone, for good; in place of any earlier choice."""
    async with asker.about(user) as owner:
        params: dict[str, Any] = {"persona": body.persona, "tone": body.tone.model_dump(exclude_none=True)}
        try:
            await _friend(asker.gateway).prefer(params, _context(asker.gateway, owner))
        except InvalidParams as problem:
            raise InvalidRequest(f"{problem.field}: {problem}", param=problem.field) from problem
    return body


def _friend(gateway: Gateway) -> ChatAgent:
    friend = gateway.agents.registry.find(FRIEND)
    if not isinstance(friend, ChatAgent):
        raise UnknownModel(FRIEND)
    return friend


def _context(gateway: Gateway, owner: Owner) -> RunContext:
    """Of no run: what is kept of a person, read and written."""
    parts = gateway.agents
    budget = RunBudget(parts.limits, time.monotonic)
    return RunContext(owner, "", budget, parts.now, random.SystemRandom(), parts.new_id, state=parts.states)
