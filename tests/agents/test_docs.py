"""The example of docs/agents.md is an agent."""

import re
from pathlib import Path
from typing import Any

import pytest

from agents.base import AgentRequest, Unsupported
from agents.events import Card, Done, Event, Token
from agents.registry import Registry
from models.chat import ChatMessage
from tests.agents.run_context import MakeContext
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers.script import ScriptServer

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "agents.md").read_text()


@pytest.fixture
def dice() -> Any:
    """Return the agent that the page defines."""
    (code,) = re.findall(r"```python\n(.*?)```", MANUAL, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "dice"}
    exec(compile(code, "docs/agents.md", "exec"), names)
    return names["DiceAgent"]()


async def run(agent: Any, text: str, context: Any, **more: Any) -> list[Event]:
    """All that a run tells."""
    return [event async for event in agent.run(AgentRequest([ChatMessage("user", text)], **more), context)]


def text_of(events: list[Event]) -> str:
    """The words."""
    return "".join(event.text for event in events if isinstance(event, Token))


async def test_it_works_without_a_model(dice: Any, make_context: MakeContext) -> None:
    """A roll that a test can know."""
    events = await run(dice, "roll 3d20", make_context(seed=1))
    (card,) = (event for event in events if isinstance(event, Card))
    assert len(card.data["rolled"]) == 3
    assert text_of(events).endswith(f"{sum(card.data['rolled'])} together.")
    assert isinstance(events[-1], Done)


async def test_a_model_fills_in_and_tells(
    dice: Any, server: ScriptServer, model: OpenAIChat, make_context: MakeContext
) -> None:
    """Within what the parameters allow."""
    server.answers = ['{"count": 99}', '{"count": 2, "sides": 6}', "Lucky you"]
    events = await run(dice, "roll a couple for me", make_context(model=model))
    assert text_of(events) == "Lucky you"
    assert "less than or equal to 10" in server.requests[1]["messages"][-1]["content"]


async def test_it_is_registered_by_a_line(dice: Any, make_context: MakeContext) -> None:
    """And refuses what it does not take."""
    assert Registry([dice]).find("bondhu/dice") is dice
    with pytest.raises(Unsupported):
        await run(dice, "roll 1d6", make_context(), extra={"tools": [{}]})


def test_what_the_page_names_is_there() -> None:
    """Files and folders of the project."""
    named = re.findall(r"`((?:agents|tests|configs|models)/[\w./-]*)`", MANUAL)
    assert named
    missing = [path for path in named if not (ROOT / path).exists()]
    assert missing == []
