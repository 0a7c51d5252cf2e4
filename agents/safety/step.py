"""The safety step: `assess` runs before the model is called, `check_reply` before its answer is shown.

Rules decide in a few milliseconds and need nothing else. An embedding classifier and a guard model may raise the level,
never lower it, each within its timeout; if one is absent, fails or is late, the rules decide. It stores nothing that it
reads. It does not know who the person is, nor how a reply is sent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from agents.safety.detection.classifier import Classifier, Opinion
from agents.safety.detection.conversation import MAX_TURNS, judge
from agents.safety.detection.guard import GuardModel, Verdict
from agents.safety.detection.rules import Rules, Signals
from agents.safety.detection.words import language_of
from agents.safety.reply_check import ReplyRules
from agents.safety.risk import Category, Level, ReplyCheck, Risk
from models.chat import ChatMessage

log = logging.getLogger(__name__)

Embed = Callable[[Sequence[str]], Awaitable[Any]]  # texts to vectors; may raise anything
MAX_WAIT_S = 0.3
SHORT = 4000  # characters that are read at once; more are read in a thread, so that nobody else waits
SELF_HARM = "self_harm"


class SafetyStep:
    """Both sides of the step; created once at startup, because reading the rules takes about a second.

    Args:
        rules: the phrases; read from the package by default.
        embed: makes embeddings of all-MiniLM-L6-v2; None: rules alone.
        classifier: what reads them.
        max_wait_s: for embedding and guard together.

    """

    def __init__(
        self,
        *,
        rules: Rules | None = None,
        embed: Embed | None = None,
        classifier: Classifier | None = None,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._rules = rules or Rules()
        self._reply_rules = ReplyRules()
        self._embed = embed
        self._classifier = classifier or (Classifier() if embed else None)
        self._max_wait_s = max_wait_s

    async def assess(
        self,
        messages: Sequence[ChatMessage],
        *,
        is_minor: bool = False,
        classifies: bool = True,
        guard: GuardModel | None = None,
    ) -> Risk:
        """The risk of the person's latest message, given those before it; a failing part raises nothing.

        `classifies`: whether the classifier reads the message too; `guard`: the model that judges it too.
        """
        texts = [message.text for message in messages if message.role == "user"][-MAX_TURNS:]
        if sum(map(len, texts)) <= SHORT:
            signals = [self._rules.read(text) for text in texts]
        else:
            signals = await asyncio.to_thread(lambda: [self._rules.read(text) for text in texts])
        found = _judge(texts, signals, is_minor)
        if not texts or found.level is Level.EXPLICIT or not (classifies or guard):
            return found
        opinion, verdict = await asyncio.gather(
            self._opinion(texts[-1], classifies=classifies), self._verdict(messages, guard)
        )
        for source, raised in (("classifier", opinion), ("guard", verdict)):
            if raised and raised[1] > signals[-1].level(raised[0]):
                signals[-1] = replace(signals[-1], levels={**signals[-1].levels, raised[0]: raised[1]})
                risk = _judge(texts, signals, is_minor)
                found = risk if risk.level <= found.level else replace(risk, reasons=(*risk.reasons, source))
        return found

    def assess_now(self, texts: Sequence[str], *, is_minor: bool = False) -> Risk:
        """The risk of a person's messages, oldest first, by rules only and immediately."""
        texts = texts[-MAX_TURNS:]
        return _judge(texts, [self._rules.read(text) for text in texts], is_minor)

    def check_reply(self, text: str, *, risk: Risk | None = None, is_companion: bool = True) -> ReplyCheck:
        """Whether to show a model's reply in a conversation with this risk."""
        return self._reply_rules.check(text, risk or Risk(), is_companion=is_companion)

    async def _opinion(self, text: str, *, classifies: bool) -> Verdict | None:
        if not classifies or self._embed is None or self._classifier is None:
            return None
        try:
            async with asyncio.timeout(self._max_wait_s):
                (vector,) = await self._embed([text])
            opinion: Opinion = self._classifier.read(vector, language_of(text))
        except Exception:  # noqa: BLE001  # whatever an embedder raises: rules have spoken, and a crisis waits for nobody
            return None
        return opinion.category, opinion.level

    async def _verdict(self, messages: Sequence[ChatMessage], guard: GuardModel | None) -> Verdict | None:
        if guard is None:
            return None
        try:
            async with asyncio.timeout(self._max_wait_s):
                return await guard.judge(messages)
        except Exception as problem:  # noqa: BLE001  # as above
            log.warning("the guard model gave no opinion: %s", type(problem).__name__)
            return None


def detects_self_harm(detect: Callable[[str], frozenset[str]], step: SafetyStep) -> Callable[[str], frozenset[str]]:
    """A detector of private text that also finds self-harm as this step does: Bengali, Hindi, hints.

    `detect` is the existing detector (`serving.privacy.detector.detector`); whatever it finds is still found. The
    result can replace it.
    """

    def both(text: str) -> frozenset[str]:
        found = detect(text)
        lines = [line for line in text.splitlines() if line.strip()]
        risk = step.assess_now(lines) if SELF_HARM not in found else None
        is_danger = risk is not None and risk.category is Category.SELF_HARM and risk.level >= Level.VEILED
        return found | {SELF_HARM} if is_danger else found

    return both


def _judge(texts: Sequence[str], signals: Sequence[Signals], is_minor: bool) -> Risk:
    return judge(signals, language=language_of(texts[-1]) if texts else "en", is_minor=is_minor)
