"""/api/v1/agents: lists the agents, and runs one with a typed body.

A run is the same as with POST /v1/chat/completions, without a stream: same limits, ledger and memory. For a stream, use
that endpoint.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field, JsonValue

from agents.catalogue import PREFIX
from memory.schemas import Accepted, Name
from serving.errors import UnknownModel
from serving.privacy.markers import FIELD
from serving.protocol.request import CHAT
from serving.protocol.response import Collected
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.counted import looked_up
from serving.routes.dependencies import Caller, Worker
from serving.routes.disconnect import on_disconnect
from serving.routes.openai.completions import respond
from serving.routes.openai.parts import GeneratingParts
from storage.api_keys import KeyRecord

router = APIRouter(tags=["agents"], route_class=BoundedRoute, responses=openapi.AGENT_RESPONSES)

PathAgent = Annotated[Name, Path(description="an agent id of GET /api/v1/agents")]


class AgentCard(BaseModel):
    """An agent: its purpose, what it needs, and which fields of a request it passes on to its model."""

    object: Literal["agent"] = "agent"
    id: str
    model: str
    description: str
    needs: list[str]
    passes_on: list[str]


class AgentList(BaseModel):
    """All agents."""

    object: Literal["list"] = "list"
    data: list[AgentCard]


class RunBody(Accepted):
    """A request to an agent; `messages` are in OpenAI's format."""

    messages: list[dict[str, JsonValue]] = Field(min_length=1)
    user: Name | None = None
    conversation: Name | None = None
    persona: str | None = None
    tone: dict[str, JsonValue] | None = None
    confirm: Name | None = Field(default=None, description="id of a proposal to confirm")
    undo: Name | None = Field(default=None, description="id of a proposal to undo")


class Used(BaseModel):
    """Tokens of all model calls of the run."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class RunAnswer(BaseModel):
    """The result of a run; docs/agents.md describes `events`."""

    object: Literal["agent.run"] = "agent.run"
    id: str
    agent: str
    text: str
    finish_reason: str
    events: list[dict[str, JsonValue]]
    tool_calls: list[dict[str, JsonValue]] = []
    usage: Used


@router.get("/api/v1/agents", dependencies=[Depends(looked_up)])
async def agents(gateway: Worker, _: Caller) -> AgentList:
    """List the agents and what each needs."""
    return AgentList(
        data=[
            AgentCard(
                id=agent.id,
                model=f"{PREFIX}{agent.id}",
                description=agent.description,
                needs=sorted(agent.needs),
                passes_on=sorted(agent.passes_on),
            )
            for agent in gateway.agents.registry
        ]
    )


@router.post("/api/v1/agents/{agent}/runs", response_model=RunAnswer)
async def run(agent: PathAgent, body: RunBody, http_request: Request, gateway: Worker, caller: Caller) -> Response:
    """Run an agent to its end."""
    agent_fields = body.model_dump(include={"persona", "tone", "confirm", "undo"}, exclude_none=True)
    return await run_whole(
        http_request, gateway.generating, caller, agent, body.messages, body.user, body.conversation, agent_fields
    )


async def run_whole(
    http_request: Request,
    parts: GeneratingParts,
    caller: KeyRecord,
    agent: str,
    messages: list[dict[str, JsonValue]],
    user: str | None,
    conversation: str | None,
    agent_fields: Mapping[str, Any],
) -> Response:
    """Run an agent and return a RunAnswer; `agent_fields` are the agent's own fields. Raises ApiError."""
    if parts.models.agent(f"{PREFIX}{agent}") is None:
        raise UnknownModel(f"{PREFIX}{agent}")
    parsed: dict[str, Any] = {"model": f"{PREFIX}{agent}", "messages": messages, FIELD: dict(agent_fields)}
    if user is not None:
        parsed["user"] = user
    size = len(orjson.dumps(parsed))
    source = await respond(http_request, parts, caller, CHAT, parsed, size_bytes=size, conversation=conversation)
    collected = Collected()
    with on_disconnect(http_request.scope, http_request.receive, source.abandon):
        await source.run(collected)
    if not collected.status:  # the client has disconnected
        return Response(status_code=499)
    headers = {name.decode(): value.decode() for name, value in collected.headers if not name.startswith(b"content-")}
    content = collected.body
    if collected.status == 200:
        content = _answer(agent, orjson.loads(content)).model_dump_json().encode()
    return Response(content, collected.status, headers, media_type="application/json")


def _answer(agent: str, completion: Mapping[str, Any]) -> RunAnswer:
    choice = completion["choices"][0]
    message = choice["message"]
    return RunAnswer(
        id=completion["id"],
        agent=agent,
        text=message.get("content") or "",
        finish_reason=choice["finish_reason"],
        events=(message.get(FIELD) or {}).get("events", []),
        tool_calls=message.get("tool_calls") or [],
        usage=Used.model_validate(completion["usage"]),
    )
