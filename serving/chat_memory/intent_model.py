"""Requests about memory in a message: by patterns, and by a model where one is able and the message may have one.

A model that is away, slow or unreadable leaves it to the patterns. What it is asked, and what its answer is taken for:
`memory.intents.model_answer`. This module does not know which model it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from memory.intents.detector import Detected, detect, has_words_of_intents
from memory.intents.model_answer import MAX_TOKENS, SCHEMA, TASK, combined
from models.chat import ChatFailure, ChatMessage, ChatModel, ChatRequest
from serving.protocol.record import RequestRecord

log = logging.getLogger(__name__)

AskModel = Callable[[str, RequestRecord], Awaitable[str | None]]  # None: there was no answer


async def detected(text: str, ask: AskModel | None, record: RequestRecord) -> Detected | None:
    """The intent in a message; see `memory.intents.detector.detect`. `record`: of the request that it came with."""
    by_patterns = detect(text)
    if ask is None or not has_words_of_intents(text):
        return by_patterns
    answer = await ask(text, record)
    return by_patterns if answer is None else combined(text, by_patterns, answer)


async def answer_of(model: ChatModel, text: str, timeout_s: float) -> str | None:
    """A model's answer on a message; None if it is away or takes longer than `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            return (await model.complete(request_about(text))).text
    except (ChatFailure, TimeoutError) as problem:
        log.warning("requests about memory are found by patterns alone: %r", problem)
        return None


def request_about(text: str) -> ChatRequest:
    """What a model is asked about a message."""
    json_schema = {"name": "request_about_memory", "strict": True, "schema": dict(SCHEMA)}
    return ChatRequest(
        messages=[ChatMessage("system", TASK), ChatMessage("user", text)],
        max_tokens=MAX_TOKENS,
        temperature=0.0,
        response_format={"type": "json_schema", "json_schema": json_schema},
    )
