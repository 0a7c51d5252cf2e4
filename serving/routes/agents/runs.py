"""Validates requests for agents, and builds their runs from the gateway's collaborators."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from agents.base import Agent
from serving.cache.directives import CacheDirectives
from serving.chat_memory.for_agents import AgentRecollection
from serving.errors import InvalidRequest
from serving.generation.agent import AgentTarget, check_agent_request
from serving.generation.chain_model import ChainModel, TakenByTheRun
from serving.generation.pipeline import Generation
from serving.privacy.markers import FIELD
from serving.protocol.check import check_request
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.routes.body import BYTES_PER_TOKEN, tokens_of
from serving.routes.dependencies import Gateway


def check_for_agent(gateway: Gateway, agent: Agent, path: str, parsed: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for what the agent does not support; messages may have the parts that its model accepts."""
    if path != CHAT:
        raise InvalidRequest(f"model: agents are only available at {CHAT}.", param="model")
    spec = gateway.settings.catalogue.get(gateway.models.agents_model())
    fields, content = ((), ()) if spec is None else (spec.allow_fields, spec.allow_content)
    check_request(path, parsed, allow_fields={*fields, FIELD}, allow_content=content)
    check_agent_request(agent, parsed)


def memory_of_run(gateway: Gateway, request: GenerationRequest) -> AgentRecollection | None:
    """The memory of the run's user; None if memory is off."""
    if request.conversation is None:
        return None
    return AgentRecollection(
        gateway.memory, gateway.intents, gateway.settings.memory.chat, request, tokens_of, gateway.now
    )


def agent_target(
    gateway: Gateway, agent: Agent, memory: AgentRecollection | None, directives: CacheDirectives
) -> AgentTarget:
    """The target of an agent; `directives` apply to the cache of its calls to the model."""

    def model(request: GenerationRequest, record: RequestRecord) -> ChainModel:
        generate = partial(_question, gateway, directives)
        return ChainModel(gateway.models.agents_model(), request=request, record=record, generate=generate)

    return AgentTarget(agent, gateway.agents, memory, model)


def _question(
    gateway: Gateway, directives: CacheDirectives, request: GenerationRequest, record: RequestRecord
) -> Generation:
    """A run's call to its model: a generation like any other, except that the run has reserved the limits."""
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
