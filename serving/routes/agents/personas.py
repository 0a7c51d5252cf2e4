"""/api/v1/personas: the personas of the chat agent, and a person's stored choice."""

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
from serving.routes.memory.common import Access, User
from storage.memory.owner import Owner

router = APIRouter(tags=["agents"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)


class ToneBody(Accepted):
    """The tone; fields that are not set keep the persona's own."""

    warmth: Literal["calm", "warm", "cheerful"] | None = None
    humour: Literal["none", "light", "playful"] | None = None
    formality: Literal["casual", "neutral", "polite"] | None = None
    length: Literal["short", "medium", "long"] | None = None


class PersonaCard(BaseModel):
    """A persona and its default tone."""

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
    """All personas; `chosen` is the person's choice."""

    object: Literal["list"] = "list"
    data: list[PersonaCard]
    chosen: Choice


@router.get("/api/v1/personas")
async def personas(access: Access, user: User = None) -> PersonaList:
    """List the personas, and the person's choice."""
    async with access.about(user) as owner:
        friend = _friend(access.gateway)
        chosen = await friend.preferred(_context(access.gateway, owner))
    return PersonaList(
        data=[
            PersonaCard(
                id=persona.id,
                name=persona.name,
                description=persona.description,
                greeting=persona.greeting,
                tone=ToneBody.model_validate(persona.tone.model_dump()),
            )
            for persona in friend.personas
        ],
        chosen=Choice.model_validate(dict(chosen)),
    )


@router.put("/api/v1/personas")
async def choose(body: Choice, access: Access, user: User = None) -> Choice:
    """Store the person's choice of a persona and its tone; it replaces any earlier choice."""
    async with access.about(user) as owner:
        params: dict[str, Any] = {"persona": body.persona, "tone": body.tone.model_dump(exclude_none=True)}
        try:
            await _friend(access.gateway).prefer(params, _context(access.gateway, owner))
        except InvalidParams as problem:
            raise InvalidRequest(f"{problem.field}: {problem}", param=problem.field) from problem
    return body


def _friend(gateway: Gateway) -> ChatAgent:
    friend = gateway.agents.registry.find(FRIEND)
    if not isinstance(friend, ChatAgent):
        raise UnknownModel(FRIEND)
    return friend


def _context(gateway: Gateway, owner: Owner) -> RunContext:
    """A context without a run, for reading and writing a person's state."""
    parts = gateway.agents
    budget = RunBudget(parts.limits, time.monotonic)
    return RunContext(owner, "", budget, parts.now, random.SystemRandom(), parts.new_id, state=parts.states)
