"""A guard model: a language model that judges whether a message or a reply is dangerous, behind any `ChatModel`.

Optional, for machines with a GPU: the rules and the classifier work without it. Formats follow the model cards:
https://huggingface.co/Qwen/Qwen3Guard-Gen-0.6B (a line `Safety:`, a line `Categories:`) and
https://huggingface.co/ibm-granite/granite-guardian-3.3-8b (`<score> yes </score>`, the criterion in the chat template's
`guardian_config`). Neither has been run here: no GPU. A failure or an unreadable answer gives no opinion, never "safe".
"""

import re
from collections.abc import Sequence
from typing import Protocol

from agents.safety.risk import Category, Level
from models.chat import ChatFailure, ChatMessage, ChatModel, ChatRequest

MAX_TOKENS = 64
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
        text = await _ask(self._model, ChatRequest(messages=messages, max_tokens=MAX_TOKENS, temperature=0.0))
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
            messages=messages, max_tokens=MAX_TOKENS, temperature=0.0, extra={"chat_template_kwargs": config}
        )
        text = await _ask(self._model, request)
        score = _SCORE.search(text or "")
        if score is None:
            return None
        return (Category.SELF_HARM, Level.VEILED) if score[1].lower() == "yes" else (Category.NONE, Level.NONE)


async def _ask(model: ChatModel, request: ChatRequest) -> str | None:
    try:
        return (await model.complete(request)).text
    except ChatFailure:
        return None
