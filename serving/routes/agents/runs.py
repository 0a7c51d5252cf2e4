"""How a request for an agent is checked, and what its run is made of from the gateway's collaborators."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from agents.base import Agent
from serving.cache.directives import CacheDirectives
from serving.chat_memory.for_agents import AgentRecollection
from serving.errors import InvalidRequest
from serving.generation.agent import AgentTarget, check_agent_request
from serving.generation.agent_model import AgentModel, TakenByTheRun
from serving.generation.pipeline import Generation
from serving.privacy.markers import FIELD
from serving.protocol.check import check_request
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.routes.body import BYTES_PER_TOKEN, tokens_of
from serving.routes.dependencies import Gateway


def check_for_agent(gateway: Gateway, agent: Agent, path: str, parsed: Mapping[str, Any]) -> None:
    """Refuse what the agent does not do; messages may have what its model takes. Raises InvalidRequest."""
    if path != CHAT:
        raise InvalidRequest(f"model: agents answer {CHAT} only.", param="model")
    spec = gateway.settings.catalogue.get(gateway.models.agents_model())
    fields, content = ((), ()) if spec is None else (spec.allow_fields, spec.allow_content)
    check_request(path, parsed, allow_fields={*fields, FIELD}, allow_content=content)
    check_agent_request(agent, parsed)


def memory_of_run(gateway: Gateway, request: GenerationRequest) -> AgentRecollection | None:
    """The past of whom the run is for; None: it is not asked for."""
    if request.conversation is None:
        return None
    return AgentRecollection(
        gateway.memory, gateway.wishes, gateway.settings.memory.chat, request, tokens_of, gateway.now
    )


def agent_target(
    gateway: Gateway, agent: Agent, memory: AgentRecollection | None, directives: CacheDirectives
) -> AgentTarget:
    """The run of an agent; `wish` is for the cache of what it asks its model."""

    def model(request: GenerationRequest, record: RequestRecord) -> AgentModel:
        generate = partial(_question, gateway, directives)
        return AgentModel(gateway.models.agents_model(), request=request, record=record, generate=generate)

    return AgentTarget(agent, gateway.agents, memory, model)


def _question(
    gateway: Gateway, directives: CacheDirectives, request: GenerationRequest, record: RequestRecord
) -> Generation:
    """What a run asks its model: a generation like any other, whose limits the run has taken."""
    return Generation(
        request=request,
        chain=gateway.chains.of(request.model),
        record=record,
        limiter=TakenByTheRun(),
        lookup=partial(gateway.answers.lookup, directives=directives),
        memory=None,
        degraded=gateway.degraded,
        tier="",
        tokens=len(orjson.dumps(request.parsed)) // BYTES_PER_TOKEN,
        timeout_s=gateway.settings.gateway.request_timeout_s,
        drain=gateway.drain,
    )
