"""Model calls within a run: tokens and steps are charged to the run's budget, the timeout is the time that it has left.

A choice is constrained by a grammar, so that even the smallest model answers with one of the words. Parameters are
constrained by a JSON schema, with a token limit, because such a grammar allows endless whitespace and small models
produce it (vllm-project/vllm#38696; the engine's own setting against it is `disable_any_whitespace`). Invalid
parameters are requested once more. If they are still invalid, or there is no choice, the result is None, and the caller
continues with rules.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agents.base import RunContext, StepSpan
from agents.budget import LimitReached
from models.chat import ChatFailure, ChatMessage, ChatModel, ChatReply, ChatRequest, TextDelta, TimedOut

P = TypeVar("P", bound=BaseModel)
CHOICE_TOKENS = 16
PARAMS_TOKENS = 256
MIN_TOKENS = 8  # a shorter answer is not worth a call


async def complete(context: RunContext, request: ChatRequest) -> ChatReply:
    """The complete answer, as one step of the run; raises ChatFailure, LimitReached."""
    model, request = _begin(context, request)
    with context.spans("model", {}) as span:
        try:
            async with asyncio.timeout(context.budget.left_s):
                reply = await model.complete(request)
        except TimeoutError as problem:
            raise TimedOut("The run's time is over.") from problem
        _end(context, reply, span)
    return reply


async def stream(context: RunContext, request: ChatRequest) -> AsyncGenerator[TextDelta | ChatReply, None]:
    """The answer as a stream, as one step of the run; raises ChatFailure, LimitReached."""
    model, request = _begin(context, request)
    answer = model.stream(request)
    with context.spans("model", {}) as span:
        try:
            while True:
                async with asyncio.timeout(context.budget.left_s):
                    piece = await anext(answer, None)
                if piece is None:
                    return
                if isinstance(piece, ChatReply):
                    _end(context, piece, span)
                yield piece
        except TimeoutError as problem:
            raise TimedOut("The run's time is over.") from problem
        finally:
            if isinstance(answer, AsyncGenerator):
                await answer.aclose()


async def choose(context: RunContext, messages: Sequence[ChatMessage], choices: Sequence[str]) -> str | None:
    """One of the choices, or None if the model makes none; raises LimitReached.

    If a model ignores the grammar, the single choice that its answer names is used.
    """
    if context.model is None or len(choices) < 2:
        return choices[0] if len(choices) == 1 else None
    request = ChatRequest(messages, max_tokens=CHOICE_TOKENS, temperature=0.0, choices=choices)
    try:
        reply = await complete(context, request)
    except ChatFailure:
        return None
    choice = reply.text.strip()
    if choice in choices:
        return choice
    named = [each for each in choices if re.search(rf"\b{re.escape(each)}\b", choice, re.IGNORECASE)]
    return named[0] if len(named) == 1 else None


async def fill(context: RunContext, messages: Sequence[ChatMessage], params: type[P]) -> tuple[P | None, bool]:
    """The model's parameters, and whether they needed a second attempt; raises LimitReached.

    None if both answers were invalid, or the model failed.
    """
    schema = {"name": params.__name__.lower().strip("_"), "strict": True, "schema": params.model_json_schema()}
    shape = {"type": "json_schema", "json_schema": schema}
    prompt = list(messages)
    for is_repair in (False, True):
        request = ChatRequest(prompt, max_tokens=PARAMS_TOKENS, temperature=0.0, response_format=shape)
        try:
            reply = await complete(context, request)
            return params.model_validate_json(reply.text.strip()), is_repair
        except ChatFailure:
            return None, is_repair
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(each) for each in first["loc"])
            prompt = [
                *messages,
                ChatMessage("assistant", reply.text),
                ChatMessage("user", f"That was not valid: {where} {first['msg']}. Write the JSON object again."),
            ]
    return None, True


async def narrate(context: RunContext, request: ChatRequest) -> AsyncGenerator[str, None]:
    """The text of an answer as a stream, without leading blanks; it ends early if the model fails.

    Yields nothing if the model gives no text; then the caller uses a text of its own. Raises LimitReached only before
    the first text.
    """
    has_begun = False
    try:
        with context.spans("narrate", {}):
            async with aclosing(stream(context, request)) as answer:
                async for piece in answer:
                    if not isinstance(piece, TextDelta):
                        continue
                    text = piece.text if has_begun else piece.text.lstrip()
                    if text:
                        has_begun = True
                        yield text
    except ChatFailure:
        return


def _begin(context: RunContext, request: ChatRequest) -> tuple[ChatModel, ChatRequest]:
    assert context.model is not None, "the caller has checked that there is a model"
    context.budget.take_step()
    left = context.budget.left_tokens
    if left < MIN_TOKENS:
        raise LimitReached("max_tokens")
    return context.model, replace(request, max_tokens=min(request.max_tokens, left))


def _end(context: RunContext, reply: ChatReply, span: StepSpan) -> None:
    context.budget.spend(reply.usage)
    span.note("gen_ai.response.model", reply.model)
    span.note("gen_ai.usage.input_tokens", reply.usage.prompt_tokens)
    span.note("gen_ai.usage.output_tokens", reply.usage.completion_tokens)
    if reply.model not in context.models_used:
        context.models_used.append(reply.model)
