"""What `bench.agents` makes of answers; and where the rules alone send its messages."""

import random
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.base import AgentRequest, RunContext
from agents.budget import RunBudget, RunLimits
from agents.chat.persona import read_personas
from agents.events import ToolStep
from agents.registry import Parts, make_agents
from agents.running import run_agent
from bench.agents import __main__ as command
from bench.agents import report
from bench.agents.measure import Answer, as_dict
from bench.agents.messages import FRESH, MESSAGES, SEEN, Message
from models.chat import ChatMessage

ROOT = Path(__file__).parents[2]


def test_messages_are_different_and_for_every_agent() -> None:
    """None twice; of every agent, and some without a word of their kind, also among the fresh ones."""
    assert len({each.text for each in MESSAGES}) == len(MESSAGES)
    for some in (SEEN, FRESH):
        assert {each.agent for each in some} == {"chat", "music", "video", "games"}
        assert any(each.is_plain for each in some)


@pytest.mark.parametrize(("some", "least"), [(SEEN, 82), (FRESH, 29)])
async def test_rules_alone_send_no_talk_away_and_most_of_the_rest_right(some: tuple[Message, ...], least: int) -> None:
    """As the demonstration model has them, which does not choose; whom they do not understand, the friend answers."""
    auto = make_agents(Parts(read_personas(ROOT / "configs/personas"), "dost")).find("auto")
    assert auto is not None
    right = 0
    for message in some:
        context = RunContext(
            owner=None,
            conversation="",
            budget=RunBudget(RunLimits(), time.monotonic),
            now=lambda: datetime(2026, 11, 27, 14, 0, tzinfo=UTC),
            rng=random.Random(1),
            new_id=lambda: "id",
        )
        events = [each async for each in run_agent(auto, AgentRequest([ChatMessage("user", message.text)]), context)]
        step = next(each for each in events if isinstance(each, ToolStep) and each.name == "agent")
        chosen = step.detail.split(" ")[0]
        assert chosen in (message.agent, "chat"), message.text
        right += chosen == message.agent
    assert right >= least


def test_a_result_is_reported_with_its_shares() -> None:
    """Latency, the model's part, routes with the wrong ones named, repairs, and the peer."""
    answers = []
    for message in MESSAGES:
        step = {"type": "tool_step", "name": "agent", "state": "done", "detail": "chat by default"}
        answers.append(Answer("auto", message, 0.1, 0.4, 0.2, "words", [step], 200))
        answers.append(Answer(message.agent, message, 0.1, 0.4, 0.0, "words", [{**step, "state": "repaired"}], 200))
        answers.append(Answer("plain chat", message, 0.2, 0.8, 0.4, "words", [], 200))
    by_peer = [
        {"agent": "music", "whole_s": 2.0, "found": False, "failure": "UsageLimitExceeded"},
        {"agent": "video", "whole_s": 1.0, "found": True, "failure": ""},
    ]
    result = command.summary(answers, by_peer) | {
        "commit": "c",
        "at": "now",
        "model": "m",
        "rounds": 1,
        "machine": {"cores": 2, "cpu": "x", "load_average_before": (1.0, 1.0, 1.0)},
    }
    text = report.markdown(result)
    assert result["latency"]["auto"]["model_share"] == 0.5
    assert result["routes"]["all"]["hits"] == sum(each.agent == "chat" for each in MESSAGES)
    assert "* Sad Hindi songs: chat by default" in text
    assert result["repaired"]["music"]["share"] == 1
    assert result["peer"]["music"]["failures"] == ["UsageLimitExceeded"]
    assert "| music |" in text
    assert as_dict(answers[0])["routed_to"] == "chat by default"
