"""The base by itself: what fenced text cannot do, limits, the registry, events as JSON."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.base import Agent, AgentRequest, Need, PassedOn, RequestRefused, RunContext, Unsupported
from agents.budget import LimitReached, RunBudget, RunLimits
from agents.chat.persona import read_personas
from agents.events import Action, Card, ClientCalls, Done, Event, Proposal, Source, Token, ToolStep, document
from agents.fence import clean, fence, flat
from agents.registry import Parts, Registry, make_agents
from agents.running import run_agent
from agents.tool import ToolFailed
from agents.toolbox import UNABLE
from models.chat import ChatMessage, TokenUsage, ToolCall, Unavailable
from tests.agents.run_context import MakeContext

PIECES = st.sampled_from(
    ["<<<", ">>>", "<", ">", "<|im_end|>", "[INST]", "</tool_call>", "\u200b", "\x00", "a", "\n", " "]
)
OUTSIDE = st.one_of(st.text(), st.lists(PIECES).map("".join))


@given(OUTSIDE)
def test_fenced_text_cannot_end_its_fence(text: str) -> None:
    """Nor begin a message of a chat template, whatever pieces it is made of."""
    inside = fence(text, label="a title").split("\n<<<\n", 1)[1].removesuffix("\n>>>")
    for mark in ("<<<", ">>>", "<|im_end|>", "[INST]", "</tool_call>", "\u200b", "\x00"):
        assert mark not in inside
    assert clean(inside) == inside


@given(OUTSIDE)
def test_flat_text_is_one_short_line(text: str) -> None:
    """So that it cannot look like another line."""
    line = flat(text)
    assert len(line) <= 200
    assert len(line.splitlines()) <= 1


def test_a_run_makes_no_more_calls_outside_than_it_may() -> None:
    """And none when its time is over."""
    now = [0.0]
    budget = RunBudget(RunLimits(max_outside_calls=2, max_s=10), lambda: now[0])
    budget.take_outside_call()
    now[0] = 11.0
    with pytest.raises(LimitReached, match="max_s"):
        budget.take_outside_call()
    now[0] = 1.0
    budget.take_outside_call()
    with pytest.raises(LimitReached, match="max_outside_calls"):
        budget.take_outside_call()


def test_tokens_of_all_calls_count() -> None:
    """Prompts, too."""
    budget = RunBudget(RunLimits(max_tokens=20), lambda: 0.0)
    budget.take_step()
    budget.spend(TokenUsage(15, 5))
    with pytest.raises(LimitReached, match="max_tokens"):
        budget.take_step()


def test_two_agents_have_two_ids() -> None:
    """Else one would be silently gone."""
    parts = Parts(read_personas(Path(__file__).parents[2] / "configs" / "personas"), "dost")
    agents = list(make_agents(parts))
    with pytest.raises(ValueError, match="two agents"):
        Registry([*agents, agents[0]])
    with pytest.raises(ValueError, match="no persona"):
        make_agents(Parts(parts.personas, "nobody"))


@pytest.mark.parametrize(
    "event",
    [
        Token("a"),
        ToolStep("route", "done"),
        Card("game", "Hangman", {"word": "_"}, [Action("e", "e")]),
        Source("a page", "https://example.org"),
        Proposal("p", "make", "Make it"),
        ClientCalls([ToolCall("c", "f", "{}")]),
        Done("stop", TokenUsage(1, 2), ("m",)),
    ],
)
def test_events_are_plain_json(event: Event) -> None:
    """With their type, and all that they tell."""
    data = json.loads(json.dumps(document(event)))
    assert data["type"]
    assert len(data) > 1


class Odd:
    """An agent that does what none should."""

    id = "odd"
    description = "Odd."
    passes_on: frozenset[PassedOn] = frozenset()

    def __init__(self, does: BaseException | str, needs: Iterable[Need] = ()) -> None:
        self.needs = frozenset(needs)
        self._does = does

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Raise, hang, speak and raise, or just stop."""
        if self._does == "hangs":
            await asyncio.Event().wait()
        if isinstance(self._does, BaseException):
            raise self._does
        if self._does == "speaks":
            yield Token("Well")
            raise LimitReached("max_steps")


async def events_of(agent: Agent, context: RunContext, **more: Any) -> list[Event]:
    """All that a run tells."""
    request = AgentRequest([ChatMessage("user", "hello")], **more)
    return [event async for event in run_agent(agent, request, context)]


@pytest.mark.parametrize(
    ("does", "limit"),
    [
        ("stops", None),
        ("hangs", "max_s"),
        (LimitReached("max_tokens"), "max_tokens"),
        (ToolFailed("no"), None),
        (Unavailable("away"), None),
    ],
)
async def test_every_run_has_an_answer_and_an_end(
    make_context: MakeContext, does: BaseException | str, limit: str | None
) -> None:
    """Whatever the agent lets through."""
    *events, end = await events_of(Odd(does), make_context(RunLimits(max_s=0.1)))
    assert events == [Token(UNABLE)]
    assert isinstance(end, Done)
    assert end.limit == limit


async def test_what_was_said_stays_said(make_context: MakeContext) -> None:
    """Nothing is put after it."""
    *events, end = await events_of(Odd("speaks"), make_context())
    assert events == [Token("Well")]
    assert isinstance(end, Done)
    assert end.limit == "max_steps"


async def test_a_fault_of_the_program_is_none_of_the_persons(make_context: MakeContext) -> None:
    """It is not swallowed: the caller reports it."""
    with pytest.raises(ZeroDivisionError):
        await events_of(Odd(ZeroDivisionError()), make_context())


@pytest.mark.parametrize(
    ("need", "without", "field"),
    [
        ("person", {"owner": None}, "user"),
        ("conversation", {"conversation": ""}, "conversation"),
        ("model", {}, "model"),
    ],
)
async def test_what_an_agent_needs_is_named(
    make_context: MakeContext, need: Need, without: dict[str, Any], field: str
) -> None:
    """Before it runs."""
    with pytest.raises(RequestRefused) as raised:
        await events_of(Odd("stops", [need]), make_context(**without))
    assert raised.value.field == field


async def test_what_an_agent_does_not_take_is_refused(make_context: MakeContext) -> None:
    """By the client's own name for it."""
    with pytest.raises(Unsupported) as raised:
        await events_of(Odd("stops"), make_context(), extra={"response_format": {"type": "json_object"}})
    assert raised.value.field == "response_format"
