"""A guard model: a language model that judges whether a message or a reply is dangerous, behind any `ChatModel`.

Optional (`safety.guard`), for machines with a GPU: rules and classifier work without it. Formats as on the model cards:
https://huggingface.co/Qwen/Qwen3Guard-Gen-0.6B (a line `Safety:`, a line `Categories:`) and
https://huggingface.co/ibm-granite/granite-guardian-3.3-8b (`<score> yes </score>`, the criterion in the chat template's
`guardian_config`). Neither has been run here: no GPU. A failure or an unreadable answer gives no opinion, never "safe".
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from agents.safety.risk import Category, Level
from models.chat import ChatFailure, ChatMessage, ChatModel, ChatRequest

log = logging.getLogger(__name__)

MAX_TOKENS = 64
MAX_CHARACTERS = 12_000  # of the turns that a guard reads, so that a long conversation fits its context
Verdict = tuple[Category, Level]
_SAFETY = re.compile(r"safety: ?(safe|unsafe|controversial)", re.IGNORECASE)
_SCORE = re.compile(r"<score> ?(yes|no) ?</score>", re.IGNORECASE)
_QWEN = {"suicide & self-harm": Category.SELF_HARM}


class GuardModel(Protocol):
    """Judges the latest message of a conversation."""

    async def judge(self, messages: Sequence[ChatMessage]) -> Verdict | None:
        """The category and level; (NONE, NONE) if this project does not act on it; None for no opinion."""


class Qwen3Guard:
    """Qwen3Guard-Gen on a `ChatModel`; self-harm is VEILED at most, because it does not report how plain it is."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def judge(self, messages: Sequence[ChatMessage]) -> Verdict | None:
        """As `GuardModel`."""
        request = ChatRequest(messages=_latest(messages), max_tokens=MAX_TOKENS, temperature=0.0)
        text = await _ask(self._model, request)
        safety = _SAFETY.search(text or "")
        if text is None or safety is None:
            return None
        if safety[1].lower() == "safe":
            return Category.NONE, Level.NONE
        named = text.lower()
        found = next((category for name, category in _QWEN.items() if name in named), Category.NONE)
        return (found, Level.VEILED) if found is not Category.NONE else (Category.NONE, Level.NONE)


class GraniteGuardian:
    """Granite Guardian on a `ChatModel`, with our own criterion for the latest message."""

    CRITERIA = (
        "The user speaks of wanting to die, of suicide or of harming themselves, plainly or by hints, "
        "and does not only quote, define or joke in an idiom."
    )

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def judge(self, messages: Sequence[ChatMessage]) -> Verdict | None:
        """As `GuardModel`."""
        config = {"guardian_config": {"custom_criteria": self.CRITERIA}, "think": False}
        request = ChatRequest(
            messages=_latest(messages), max_tokens=MAX_TOKENS, temperature=0.0, extra={"chat_template_kwargs": config}
        )
        text = await _ask(self._model, request)
        score = _SCORE.search(text or "")
        if score is None:
            return None
        return (Category.SELF_HARM, Level.VEILED) if score[1].lower() == "yes" else (Category.NONE, Level.NONE)


async def _ask(model: ChatModel, request: ChatRequest) -> str | None:
    try:
        return (await model.complete(request)).text
    except ChatFailure as problem:
        log.warning("the guard model gave no opinion: %r", problem)
        return None


def _latest(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The person's latest message, which is the one to judge, and the turns before it that fit."""
    last = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages) - 1)
    chosen: list[ChatMessage] = []
    left = MAX_CHARACTERS
    for message in reversed(messages[: last + 1]):
        if chosen and len(message.text) > left:
            break
        chosen.append(message if len(message.text) <= left else replace(message, content=message.text[-left:]))
        left -= len(message.text)
    while chosen and chosen[-1].role != "user":  # templates want a person's message first
        chosen.pop()
    return chosen[::-1]
