"""The base by itself: what fenced text cannot do, limits, the registry, events as JSON."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.budget import LimitReached, RunBudget, RunLimits
from agents.catalogue import Parts, make_agents
from agents.chat.persona import read_personas
from agents.events import Action, Card, ClientCalls, Done, Event, Proposal, Source, Token, ToolStep, document
from agents.fence import clean, fence, flat
from agents.registry import Registry
from models.chat import TokenUsage, ToolCall

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
    told = json.loads(json.dumps(document(event)))
    assert told["type"]
    assert len(told) > 1
