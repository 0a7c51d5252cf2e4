"""The loop of an agent with tools, made for small models: route → one tool → code → narration.

    1. route: rules, if they are certain; otherwise the model chooses a tool's name by a grammar; otherwise the default
    2. parameters: from the model under a JSON schema, with one repair; otherwise from rules
    3. the tool runs: code decides
    4. the model narrates the result; without a model, or if it returns nothing, the result's plain text is the answer

Every step works without a model, and a run that hits a limit ends in a plain answer. A model that can plan uses another
loop (`agents.planning`). This module does not know what the tools do.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel

from agents.asking import choose, fill, narrate
from agents.base import AgentRequest, RunContext
from agents.budget import LimitReached
from agents.events import Done, Event, StepState, Token, ToolStep
from agents.planning import plan
from agents.proposals import Outcome, ProposalBook
from agents.tool import Tool
from agents.toolbox import ANSWER, NARRATION_TOKENS, Toolbox, run_tool, tell, turns_of
from models.chat import ChatMessage, ChatRequest


async def run_toolbox(box: Toolbox, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
    """Answer; the last event is the Done."""
    limit: str | None = None
    has_spoken = False
    try:
        outcome = await _settled(box, request, context)
        if outcome is not None:
            for event in outcome:
                yield event
        else:
            steps = plan if context.traits.plans and context.model is not None else _one_tool
            async with aclosing(steps(box, request, context)) as events:
                async for event in events:
                    has_spoken = has_spoken or isinstance(event, Token)
                    yield event
    except LimitReached as reached:
        limit = reached.limit
        if not has_spoken:
            yield Token(box.plain_answer)
    yield done(context, limit)


def done(context: RunContext, limit: str | None = None) -> Done:
    """The end of a run."""
    return Done("length" if limit else "stop", context.budget.usage, tuple(context.models_used), limit)


async def _settled(box: Toolbox, request: AgentRequest, context: RunContext) -> list[Event] | None:
    """The result of an answer to a proposal; None if the request is no such answer."""
    if not box.effects or context.state is None or context.owner is None:
        return None
    book = ProposalBook(box.agent, box.effects, context)
    outcome: Outcome | None
    with context.spans("proposal", {}) as span:
        if request.confirm:
            outcome = await book.confirm(request.confirm)
        elif request.undo:
            outcome = await book.undo(request.undo)
        else:
            outcome = await book.resolve(request.text)
        if outcome is not None and outcome.proposal is not None:
            span.note("bondhu.proposal", outcome.proposal.state)
    if outcome is None:
        return None
    events: list[Event] = [Token(outcome.plain)]
    return events if outcome.proposal is None else [*events, outcome.proposal]


async def _one_tool(box: Toolbox, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
    with context.spans("route", {}) as span:
        name, step = await _route(box, request, context)
        span.note("bondhu.route", step.detail)
    yield step
    tool = box.find(name)
    if tool is None:
        async with aclosing(_plain_talk(box, request, context)) as texts:
            async for text in texts:
                yield Token(text)
        return
    with context.spans("parameters", {"gen_ai.tool.name": tool.name}) as span:
        params, step = await _params(tool, request, context)
        span.note("bondhu.step", f"{step.state} {step.detail}")
    yield step
    if params is None:
        yield Token(box.plain_answer)
        return
    result, step = await run_tool(tool, params, context)
    yield step
    async with aclosing(tell(box, request, context, tool, result)) as events:
        async for event in events:
            yield event


async def _route(box: Toolbox, request: AgentRequest, context: RunContext) -> tuple[str, ToolStep]:
    began_s = context.budget.left_s
    by_rule = box.route(request.text)
    if by_rule is not None:
        return by_rule, ToolStep("route", "done", f"{by_rule} by rule")
    choice = None
    if context.model is not None and context.traits.chooses:
        choice = await choose(context, _route_prompt(box, request), [*(tool.name for tool in box.tools), ANSWER])
    elapsed_s = began_s - context.budget.left_s
    if choice is None:
        return box.default, ToolStep("route", "skipped", f"{box.default} by default", elapsed_s)
    return choice, ToolStep("route", "done", f"{choice} by model", elapsed_s)


async def _params(tool: Tool[Any], request: AgentRequest, context: RunContext) -> tuple[BaseModel | None, ToolStep]:
    began_s = context.budget.left_s
    if tool.takes_nothing:
        return tool.params(), ToolStep("parameters", "done", "none")
    guessed: BaseModel | None = tool.guess(request.text)
    if guessed is not None or context.model is None:
        return guessed, ToolStep("parameters", "failed" if guessed is None else "done", "by rule")
    task = f"Fill in what the tool {tool.name} needs ({tool.description}) from their words. Write one JSON object."
    prompt = [ChatMessage("system", task), *turns_of(request)]
    filled, is_repaired = await fill(context, prompt, tool.params)
    state: StepState = "failed" if filled is None else "repaired" if is_repaired else "done"
    return filled, ToolStep("parameters", state, "by model", began_s - context.budget.left_s)


async def _plain_talk(box: Toolbox, request: AgentRequest, context: RunContext) -> AsyncGenerator[str, None]:
    has_spoken = False
    if context.model is not None:
        prompt = [ChatMessage("system", box.about), *turns_of(request)]
        async with aclosing(narrate(context, ChatRequest(prompt, max_tokens=NARRATION_TOKENS))) as texts:
            async for text in texts:
                has_spoken = True
                yield text
    if not has_spoken:
        yield box.plain_answer


def _route_prompt(box: Toolbox, request: AgentRequest) -> list[ChatMessage]:
    lines = [f"{tool.name}: {tool.description}" for tool in box.tools]
    task = "\n".join(["Choose what fits what they say last. Answer with one word.", *lines, f"{ANSWER}: just talk."])
    return [ChatMessage("system", task), *turns_of(request)]
