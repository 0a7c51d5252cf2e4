"""The steps of a run in its row of the ledger."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from agents.base import ModelTraits, no_spans
from agents.budget import RunLimits
from agents.chat.persona import read_personas
from agents.registry import Parts, make_agents
from serving.cache.agent_sessions import AgentSessions
from serving.errors import EngineFailed
from serving.generation.agent import AgentParts, AgentTarget
from serving.generation.chain_model import ChainModel
from serving.generation.target import TargetCall
from serving.privacy.detector import SELF_HARM
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import Collected, ResponseWriter, Sink

PERSONAS = read_personas(Path(__file__).parents[3] / "configs" / "personas")


class Away:
    """The answer of a model that is away."""

    async def run(self, sink: Sink) -> None:
        """Fail."""
        raise EngineFailed("It is away.")

    def abandon(self) -> None:
        """Do nothing."""


async def steps_of(text: str, *, is_in_danger: bool) -> list[tuple[str, str, str]]:
    """Return the steps of a run of `bondhu/auto`: kind, name and detail."""
    request = GenerationRequest(
        CHAT, {"messages": [{"role": "user", "content": text}]}, "bondhu/auto", "r", "app", None, "interactive", False
    )
    registry = make_agents(Parts(PERSONAS, "dost"))
    auto = registry.find("auto")
    assert auto is not None
    parts = AgentParts(
        registry,
        cast(AgentSessions, None),  # of nobody
        RunLimits(),
        lambda _: ModelTraits(chooses=False),
        lambda _: frozenset({SELF_HARM} if is_in_danger else ()),
        lambda: datetime.now(UTC),
        lambda: "id",
        no_spans,
    )

    def model(request: GenerationRequest, record: RequestRecord) -> ChainModel:
        return ChainModel("m", request=request, new_record=record.part, generate=lambda *_: Away())

    record = RequestRecord({"id": "r"}, time.monotonic, lambda *_: None)
    response = ResponseWriter(Collected(), record, [], keeps=False)
    await AgentTarget(auto, parts, None, model).answer(TargetCall(request, response, record, "asked"))
    taken: Any = record.steps
    return [(step["kind"], step["name"], step["detail"]) for step in taken]


async def test_a_row_does_not_know_who_was_in_danger() -> None:
    """Where the friend answers in the router's place, the steps are those of any talk."""
    talk = await steps_of("Hello there", is_in_danger=False)
    assert talk[:2] == [("agent", "auto", ""), ("route", "", "chat by default")]
    assert await steps_of("Hello there", is_in_danger=True) == talk
