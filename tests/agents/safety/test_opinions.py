"""Embedding and guard raise what rules say, never lower it, and are never waited for."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy
import pytest

from agents.safety.detection.classifier import Classifier
from agents.safety.detection.guard import GraniteGuardian, GuardModel, Qwen3Guard, Verdict
from agents.safety.detection.rules import Rules
from agents.safety.risk import Action, Category, Level
from agents.safety.step import SafetyStep
from models.chat import ChatMessage
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers.script import ScriptServer

HINT = [ChatMessage("user", "the colour went out of all of it")]
RULES = Rules()


class Says:
    """A guard that has one opinion."""

    def __init__(self, verdict: Verdict | None) -> None:
        self.verdict = verdict

    async def judge(self, messages: Sequence[ChatMessage]) -> Verdict | None:
        """Say it."""
        return self.verdict


async def test_a_guard_raises_what_rules_did_not_see() -> None:
    """And says that it was the guard."""
    guard = Says((Category.SELF_HARM, Level.VEILED))
    risk = await SafetyStep(rules=RULES).assess(HINT, guard=guard)
    assert (risk.level, risk.action) == (Level.VEILED, Action.ADD_HELP)
    assert risk.reasons[-1] == "guard"


@pytest.mark.parametrize("verdict", [None, (Category.NONE, Level.NONE)])
async def test_a_guard_lowers_nothing(verdict: Verdict | None) -> None:
    """Rules stand."""
    guard: GuardModel = Says(verdict)
    step = SafetyStep(rules=RULES)
    hinted = await step.assess([ChatMessage("user", "I want to sleep forever")], guard=guard)
    assert hinted.level is Level.VEILED
    assert (await step.assess(HINT, guard=guard)).level is Level.NONE


async def test_a_broken_or_late_embedder_changes_nothing() -> None:
    """It raises, it hangs, it answers in another size."""

    async def raises(texts: Sequence[str]) -> Sequence[Any]:
        raise OSError("gone")

    async def hangs(texts: Sequence[str]) -> Sequence[Any]:
        await asyncio.Event().wait()
        return []

    async def other_size(texts: Sequence[str]) -> Sequence[Any]:
        return [[0.0] * 7]

    for embed in (raises, hangs, other_size):
        step = SafetyStep(rules=RULES, embed=embed, max_wait_s=0.05)
        assert (await step.assess(HINT)).level is Level.NONE
        assert (await step.assess([ChatMessage("user", "kms")])).level is Level.EXPLICIT


async def test_an_embedding_that_looks_like_self_harm_is_a_hint() -> None:
    """Along the classifier's own weights; plain words it never makes of it."""
    classifier = Classifier()
    weights = classifier._weights
    vector = weights[:, 2] - weights[:, 0]

    async def embed(texts: Sequence[str]) -> Sequence[Any]:
        return [vector / numpy.linalg.norm(vector) * 3]

    risk = await SafetyStep(rules=RULES, embed=embed).assess(HINT)
    assert (risk.category, risk.level) == (Category.SELF_HARM, Level.VEILED)
    assert risk.reasons[-1] == "classifier"


@pytest.mark.parametrize(
    ("guard", "answer", "verdict"),
    [
        (Qwen3Guard, "Safety: Unsafe\nCategories: Suicide & Self-Harm", (Category.SELF_HARM, Level.VEILED)),
        (Qwen3Guard, "Safety: Controversial\nCategories: Suicide & Self-Harm", (Category.SELF_HARM, Level.VEILED)),
        (Qwen3Guard, "Safety: Unsafe\nCategories: PII", (Category.NONE, Level.NONE)),
        (Qwen3Guard, "Safety: Safe\nCategories: None", (Category.NONE, Level.NONE)),
        (Qwen3Guard, "I'd be glad to help!", None),
        (GraniteGuardian, "<think>\n</think>\n<score> yes </score>", (Category.SELF_HARM, Level.VEILED)),
        (GraniteGuardian, "<score> no </score>", (Category.NONE, Level.NONE)),
        (GraniteGuardian, "Yes", None),
    ],
)
async def test_guards_are_read_as_their_cards_say(
    model: OpenAIChat, server: ScriptServer, guard: Any, answer: str, verdict: Verdict | None
) -> None:
    """Over HTTP; what cannot be read is no opinion."""
    server.answers = [answer]
    assert await guard(model).judge(HINT) == verdict


async def test_a_guard_that_is_away_has_no_opinion(model: OpenAIChat, server: ScriptServer) -> None:
    """It does not raise."""
    server.answers = [503]
    assert await Qwen3Guard(model).judge(HINT) is None


async def test_a_guard_judges_the_latest_message_and_the_turns_that_fit(
    model: OpenAIChat, server: ScriptServer
) -> None:
    """Not what the model said after it, and nothing that comes before what is too long; a person's message is first."""
    server.always = "Safety: Safe\nCategories: None"
    long = [ChatMessage("user", "a" * 12_000), ChatMessage("assistant", "hm")]
    await Qwen3Guard(model).judge([*long, *HINT, ChatMessage("assistant", "So I")])
    assert server.requests[-1]["messages"] == [{"role": "user", "content": HINT[0].text}]
    await Qwen3Guard(model).judge([*HINT, ChatMessage("assistant", "oh?"), ChatMessage("user", "yes")])
    assert [each["content"] for each in server.requests[-1]["messages"]] == [HINT[0].text, "oh?", "yes"]
    await Qwen3Guard(model).judge([*HINT, ChatMessage("user", "b" * 12_000 + "the end")])
    (judged,) = server.requests[-1]["messages"]
    assert judged["content"].endswith("the end")
    assert len(judged["content"]) == 12_000
