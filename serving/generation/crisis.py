"""Detects requests about self-harm, which must never be answered with an error.

The detector (`serving.privacy.detector`) prefers false positives: a request that only mentions self-harm gets a caring
text instead of an error. This module does not know that text (`agents.safety.reply`), nor the error.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from serving.chat_memory.prompt import text_of
from serving.errors import ApiError
from serving.privacy.detector import SELF_HARM, Detect
from serving.protocol.request import CHAT, GenerationRequest

MAX_CHARACTERS = 100_000  # of the user's text, counted from its end


def is_failure(error: ApiError) -> bool:
    """Whether the error comes from the service or from limits, not from a mistake in the request."""
    return error.status == 429 or error.status >= 500


async def speaks_of_self_harm(request: GenerationRequest, detect: Detect) -> bool:
    """Whether the user's messages, or a prompt, are about self-harm."""
    text = "\n".join(_user_texts(request))[-MAX_CHARACTERS:]
    return SELF_HARM in await asyncio.to_thread(detect, text) if text else False


def _user_texts(request: GenerationRequest) -> Iterator[str]:
    """The texts of user messages, or the whole prompt."""
    parsed: Any = request.parsed
    if request.path != CHAT:
        prompt = parsed.get("prompt")
        yield from (item for item in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(item, str))
        return
    messages = parsed.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            yield text_of(message)
