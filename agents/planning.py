"""The loop for a model that can plan: it calls tools itself, several at once, for several steps.

Two identical rounds of calls in a row end the loop (small models repeat a call forever, vllm-project/vllm#21026), and
so do the run's limits; then the answer is the plain text of the tools' results. A call that the model writes as text is
recognised (vllm-project/vllm#46863), and blank text before a call does not count as an answer.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel, ValidationError

from agents.asking import stream
from agents.base import AgentRequest, RunContext
from agents.budget import LimitReached
from agents.events import Event, Token, ToolStep
from agents.fence import fence
from agents.tool import Tool, ToolResult
from agents.toolbox import Toolbox, propose, run_tool, turns_of
from models.chat import ChatFailure, ChatMessage, ChatReply, ChatRequest, TextDelta, ToolCall

MAX_LEAKED = 1000  # characters of a reply that may be a call
_LEAKED = re.compile(r"^\s*(?:<tool_call>|```(?:json)?)?\s*(\{.*\})\s*(?:</tool_call>|```)?\s*$", re.DOTALL)
_MAY_LEAK = ("{", "<", "`", "[")  # how text begins that may turn out to be a call
REPLY_TOKENS = 512
CallKey = tuple[str, str]  # a tool's name and its arguments, written in one way
_SAME = "See the other call, which was the same."
_NOT_REQUESTED = "That is done only if the person says so themselves, in a message of their own."


async def plan(box: Toolbox, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
    """Answer by calling tools until the model writes text; raises LimitReached only before the first text."""
    messages = [ChatMessage("system", box.about), *turns_of(request)]
    found: list[ToolResult] = []
    before: list[CallKey] = []
    try:
        while True:
            calls: Sequence[ToolCall] = ()
            has_spoken = False
            tools = [tool.spec() for tool in box.tools]
            chat_request = ChatRequest(messages, max_tokens=REPLY_TOKENS, temperature=0.3, tools=tools)
            async with aclosing(_ask(box, chat_request, context)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        has_spoken = True
                        yield Token(piece)
                    else:
                        calls = piece
            call_keys = [(call.name, _canonical(call.arguments)) for call in calls]
            if not calls or call_keys == before:
                yield ToolStep("plan", "done" if has_spoken else "skipped", "repeated" if calls else "spoke")
                break
            before = call_keys
            messages.append(ChatMessage("assistant", "", tool_calls=calls))
            outcomes = await _call_all(box, dict(zip(call_keys, calls, strict=True)), request, context)
            for call, key in zip(calls, call_keys, strict=True):
                answer, result, step = outcomes.pop(key, (_SAME, None, None))
                messages.append(ChatMessage("tool", answer, tool_call_id=call.id))
                if step is not None:
                    yield step
                if result is not None:
                    found.append(result)
                    for card in result.cards:
                        yield card
                    for source in result.sources:
                        yield source
    except ChatFailure:
        yield ToolStep("plan", "failed", "model away")
        has_spoken = False
    except LimitReached:
        if not found:
            raise
        has_spoken = False
    if not has_spoken:
        yield Token("\n".join(dict.fromkeys(each.plain for each in found)) or box.plain_answer)
    for result in found:
        for proposal in await propose(box, context, result):
            yield proposal


async def _ask(
    box: Toolbox, request: ChatRequest, context: RunContext
) -> AsyncGenerator[str | Sequence[ToolCall], None]:
    """The text of one round as a stream, followed by its calls, if there are any."""
    held = ""
    is_held = True
    async with aclosing(stream(context, request)) as answer:
        async for piece in answer:
            if isinstance(piece, TextDelta):
                if not is_held:
                    yield piece.text
                    continue
                held += piece.text
                begun = held.lstrip()
                if begun and not begun.startswith(_MAY_LEAK):
                    is_held = False
                    yield begun
            else:
                calls = piece.tool_calls or _leaked(box, piece)
                if calls:
                    yield calls
                elif is_held and held.strip():
                    yield held.strip()


async def _call_all(
    box: Toolbox, calls: Mapping[CallKey, ToolCall], request: AgentRequest, context: RunContext
) -> dict[CallKey, tuple[str, ToolResult | None, ToolStep | None]]:
    """Run different calls at the same time; their results."""
    async with asyncio.TaskGroup() as group:
        tasks = {key: group.create_task(_call(box, call, request, context)) for key, call in calls.items()}
    return {key: task.result() for key, task in tasks.items()}


async def _call(
    box: Toolbox, call: ToolCall, request: AgentRequest, context: RunContext
) -> tuple[str, ToolResult | None, ToolStep]:
    """Run one call: the message for the model, the result, the step."""
    tool = box.find(call.name)
    if tool is None:
        names = ", ".join(each.name for each in box.tools)
        return f"There is no such tool. There are: {names}.", None, ToolStep("unknown tool", "failed")
    try:
        params = (
            _own_params(box, tool, request, context)
            if tool.writes
            else tool.params.model_validate_json(call.arguments or "{}")
        )
        if params is None:
            return _NOT_REQUESTED, None, ToolStep(tool.name, "skipped", "not said by the person")
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(each) for each in first["loc"])
        return f"{where}: {first['msg']}", None, ToolStep(tool.name, "failed", "parameters")
    try:
        result, step = await run_tool(tool, params, context)
    except LimitReached:
        return "There is no time for that.", None, ToolStep(tool.name, "skipped", "limit")
    facts = result.facts or result.plain
    return fence(facts, label=f"what {tool.name} found") if result.is_outside else facts, result, step


def _own_params(box: Toolbox, tool: Tool[Any], request: AgentRequest, context: RunContext) -> BaseModel | None:
    """The person's last message as parameters of a tool that writes; None if it does not ask for that tool alone."""
    if context.has_outside_text or box.route(request.text) not in (None, tool.name):
        return None
    params: BaseModel | None = tool.guess(request.text)
    return params


def _leaked(box: Toolbox, reply: ChatReply) -> Sequence[ToolCall]:
    """The call that the model wrote as text, if the reply is one."""
    match = _LEAKED.match(reply.text) if len(reply.text) <= MAX_LEAKED else None
    if match is None:
        return ()
    try:
        call = json.loads(match[1])
    except ValueError:
        return ()
    arguments = call.get("arguments", call.get("parameters"))
    if box.find(str(call.get("name"))) is None or not isinstance(arguments, dict):
        return ()
    return (ToolCall("call_0", call["name"], json.dumps(arguments)),)


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments.strip()
