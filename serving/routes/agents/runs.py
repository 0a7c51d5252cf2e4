"""Validates requests for agents."""

from collections.abc import Mapping
from typing import Any

from agents.base import Agent
from serving.errors import InvalidRequest
from serving.generation.agent import check_agent_request
from serving.privacy.markers import FIELD
from serving.protocol.check import check_request
from serving.protocol.request import CHAT
from serving.routes.openai.parts import GeneratingParts


def check_for_agent(parts: GeneratingParts, agent: Agent, path: str, parsed: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for what the agent does not support; messages may have the parts that its model accepts."""
    if path != CHAT:
        raise InvalidRequest(f"model: agents are only available at {CHAT}.", param="model")
    spec = parts.settings.catalogue.get(parts.models.agents_model())
    fields, content = ((), ()) if spec is None else (spec.allow_fields, spec.allow_content)
    check_request(path, parsed, allow_fields={*fields, FIELD}, allow_content=content)
    check_agent_request(agent, parsed)
