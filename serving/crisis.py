"""Whether a request speaks of self-harm, so that a failure is never the answer to it.

The detector's word is taken (`serving.sensitive`), which errs on the side of finding: who only mentions it gets a
caring text instead of an error. It does not know that text (`agents.safety.reply`), nor why nothing else could be said.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from serving.call import CHAT, Call
from serving.errors import ApiError
from serving.memory_prompt import text_of
from serving.sensitive import SELF_HARM, Detect

MAX_CHARACTERS = 100_000  # of what people said, the latest


def is_failure(error: ApiError) -> bool:
    """Whether it tells of the service, or of limits, and not of a mistake in the request."""
    return error.status == 429 or error.status >= 500


async def speaks_of_self_harm(call: Call, detect: Detect) -> bool:
    """Whether the person, or the prompt, does."""
    said = "\n".join(_said(call))[-MAX_CHARACTERS:]
    return SELF_HARM in await asyncio.to_thread(detect, said) if said else False


def _said(call: Call) -> Iterator[str]:
    """What people said; all of a prompt."""
    parsed: Any = call.parsed
    if call.path != CHAT:
        prompt = parsed.get("prompt")
        yield from (each for each in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(each, str))
        return
    messages = parsed.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            yield text_of(message)
