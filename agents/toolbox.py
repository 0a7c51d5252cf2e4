"""The tools and texts of one agent: running a tool, and wording its result with or without a model."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from agents.asking import narrate
from agents.base import AgentRequest, RunContext
from agents.budget import LimitReached
from agents.events import Event, Proposal, Token, ToolStep
from agents.fence import fence
from agents.proposals import EffectHandler, ProposalBook
from agents.tool import Tool, ToolFailed, ToolResult
from models.chat import ChatMessage, ChatRequest

ANSWER = "answer"  # the route of what needs no tool
MAX_TURNS = 6  # of the conversation that a router or a narrator is shown
NARRATION_TOKENS = 160
TOO_LONG = "That took too long, so I stopped. Try me again in a moment?"
UNABLE = "I could not do that just now. Try me again in a moment?"
_NARRATE = "Tell them this in one to three friendly sentences. Add no facts, names or numbers of your own."


@dataclass(frozen=True)
class Toolbox:
    """An agent's tools and texts.

    Attributes:
        agent: its id.
        tools: what it can do.
        about: the speaker's character in one or two sentences, for a system message.
        route: by rules, the name of the tool that a message clearly means; ANSWER: none; None: not clear.
        default: the route if it is not clear.
        plain_answer: the text for the route ANSWER without a model.
        effects: the handlers of the effects that its tools propose.

    """

    agent: str
    tools: Sequence[Tool[Any]]
    about: str
    route: Callable[[str], str | None]
    default: str = ANSWER
    plain_answer: str = UNABLE
    effects: Mapping[str, EffectHandler] = field(default_factory=dict)

    def find(self, name: str) -> Tool[Any] | None:
        """The tool of that name."""
        return next((tool for tool in self.tools if tool.name == name), None)


async def run_tool(tool: Tool[Any], params: BaseModel, context: RunContext) -> tuple[ToolResult, ToolStep]:
    """Run it within the run's time; a failure becomes a result. Raises LimitReached."""
    began_s = context.budget.left_s
    context.budget.take_step()
    about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool.name}
    try:
        with context.spans(f"execute_tool {tool.name}", about):
            async with asyncio.timeout(context.budget.left_s):
                result = await tool.run(params, context)
    except (ToolFailed, TimeoutError) as failure:
        message = str(failure) if isinstance(failure, ToolFailed) else TOO_LONG
        step = ToolStep(tool.name, "failed", "", began_s - context.budget.left_s)
        return ToolResult(message, is_final=True), step
    context.has_outside_text = context.has_outside_text or result.is_outside
    return result, ToolStep(tool.name, "done", "", began_s - context.budget.left_s)


async def tell(
    box: Toolbox, request: AgentRequest, context: RunContext, tool: Tool[Any], result: ToolResult
) -> AsyncGenerator[Event, None]:
    """The events of a result: cards and sources, the text (narrated or plain), then proposals."""
    for card in result.cards:
        yield card
    for source in result.sources:
        yield source
    has_spoken = False
    if context.model is not None and not result.is_final:
        prompt = ChatRequest(_narration_prompt(box, request, tool, result), max_tokens=NARRATION_TOKENS)
        try:
            async with aclosing(narrate(context, prompt)) as texts:
                async for text in texts:
                    has_spoken = True
                    yield Token(text)
        except LimitReached:
            has_spoken = False
    if not has_spoken:
        yield Token(result.plain)
    for proposal in await propose(box, context, result):
        yield proposal


async def propose(box: Toolbox, context: RunContext, result: ToolResult) -> list[Proposal]:
    """Record what a result proposes, if there is a state store."""
    if not result.proposed or context.state is None or context.owner is None:
        return []
    return await ProposalBook(box.agent, box.effects, context).propose(result.proposed)


def turns_of(request: AgentRequest) -> list[ChatMessage]:
    """The last turns of the conversation as text, without system messages."""
    turns = [each for each in request.messages if each.role in ("user", "assistant") and each.text]
    return [ChatMessage(each.role, each.text) for each in turns[-MAX_TURNS:]]


def _narration_prompt(box: Toolbox, request: AgentRequest, tool: Tool[Any], result: ToolResult) -> list[ChatMessage]:
    facts = result.facts or result.plain
    material = fence(facts, label="what was found") if result.is_outside else facts
    how = tool.narration or _NARRATE
    return [
        ChatMessage("system", box.about),
        *turns_of(request)[:-1],
        ChatMessage("user", f"{request.text}\n\n{material}\n\n{how}"),
    ]
