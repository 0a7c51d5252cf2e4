"""The friend. It adds a persona, the clock and the person's past to what the client sends, and nothing else.

The client's tools, images and JSON schema are passed to the model, and calls of those tools back to the client. The
request's `params` choose persona and tone; otherwise the person's stored choice does. Without a model, it answers with
the persona's text for that case.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agents.asking import stream
from agents.base import (
    AgentRequest,
    InvalidParams,
    KnowsPersonas,
    MemoryLine,
    Need,
    PassedOn,
    RequestRefused,
    RunContext,
    check_fields,
    client_fields,
)
from agents.budget import LimitReached
from agents.chat.absence import meanwhile
from agents.chat.persona import Persona, Tone
from agents.chat.prompt import chat_messages, is_leaving
from agents.events import ClientCalls, Done, Event, Source, Token, ToolStep
from agents.fence import flat
from agents.loop import done
from agents.personality.use import tone_for
from models.chat import BadRequest, ChatFailure, ChatMessage, ChatReply, ChatRequest, FinishReason, TextDelta

if TYPE_CHECKING:
    from agents.registry import Parts

MAX_RECALLED = 8
PARAMS = frozenset({"persona", "tone"})


class ChatAgent:
    """See `agents.base.Agent`.

    Args:
        personas: by id.
        default: the id of the persona for people who have not chosen one.

    """

    id = "chat"
    description = "Talks about anything: their day, feelings, questions, memories."
    needs: frozenset[Need] = frozenset()
    passes_on: frozenset[PassedOn] = frozenset({"tools", "response_format", "images"})

    def __init__(self, personas: Mapping[str, Persona], default: str) -> None:
        if default not in personas:
            raise ValueError(f"there is no persona {default}; there are: {', '.join(personas)}")
        self._personas = personas
        self._default = default

    @property
    def personas(self) -> Sequence[Persona]:
        """The available personas."""
        return list(self._personas.values())

    def chosen(self, params: Mapping[str, Any]) -> tuple[Persona, Tone]:
        """The persona and tone named by params; raises InvalidParams."""
        id_ = params.get("persona") or self._default
        persona = self._personas.get(id_) if isinstance(id_, str) else None
        if persona is None:
            raise InvalidParams(f"There is no such persona; there are: {', '.join(self._personas)}.", "persona")
        changes = params.get("tone") or {}
        if not isinstance(changes, Mapping):
            raise InvalidParams("Expected an object.", "tone")
        try:
            return persona, persona.tone.tuned(changes)
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_input=False)[0]
            raise InvalidParams(first["msg"], ".".join(["tone", *map(str, first["loc"])])) from problem

    async def prefer(self, params: Mapping[str, Any], context: RunContext) -> None:
        """Store the person's choice of persona and tone, replacing an earlier one; raises InvalidParams."""
        self.chosen(params)
        assert context.state is not None, "choices are kept"
        key = context.state_key(self.id, "preferences", of_person=True)
        kept = await context.state.load(key)
        value = {name: params[name] for name in PARAMS if params.get(name)}
        await context.state.save(key, value, expected=0 if kept is None else kept.version)

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Answer; raises RequestRefused."""
        check_fields(self, request)
        params = {**await self.preferred(context), **request.params}
        if isinstance(params.get("tone") or {}, Mapping):  # what is no tone is refused below
            params["tone"] = {**await tone_for(context), **(params.get("tone") or {})}
        persona, tone = self.chosen(params)
        if not request.text and not any(each.role == "tool" for each in request.messages):
            yield Token(persona.greeting)
            yield done(context)
            return
        if context.model is None:
            yield Token(persona.away)
            yield done(context)
            return
        async with aclosing(self._answer(persona, tone, request, context)) as events:
            async for event in events:
                yield event

    async def _answer(
        self, persona: Persona, tone: Tone, request: AgentRequest, context: RunContext
    ) -> AsyncGenerator[Event, None]:
        with context.spans("recall", {}) as span:
            profile, recalled = await _known(request.text, persona, context)
            span.note("bondhu.recalled", len(recalled))
        leaves = is_leaving(request.text)
        asks = () if leaves else await meanwhile(self.id, context)
        messages = chat_messages(
            persona,
            tone,
            request.messages,
            profile=profile,
            recalled=recalled,
            local_now=context.local_now(),
            leaves=leaves,
            meanwhile=asks,
            max_tokens=context.traits.max_prompt_tokens,
        )
        chat_request = _request(messages, tone, request.extra)
        sources = [Source(flat(line.text), why=line.why) for line in recalled]
        has_spoken, finish, limit = False, "stop", None
        try:
            async with aclosing(stream(context, chat_request)) as answer:
                async for piece in answer:
                    for source in sources:
                        yield source
                    sources = []
                    if isinstance(piece, TextDelta):
                        text = piece.text if has_spoken else piece.text.lstrip()
                        has_spoken = has_spoken or bool(text)
                        if text:
                            yield Token(text)
                    elif isinstance(piece, ChatReply):
                        finish = piece.finish_reason
                        if piece.tool_calls:
                            has_spoken = True
                            yield ClientCalls(piece.tool_calls)
        except ChatFailure as failure:
            if isinstance(failure, BadRequest) and client_fields(request) and not has_spoken:
                raise RequestRefused("The model does not take this request as it is.", failure.field or "") from failure
            yield ToolStep("answer", "failed", type(failure).__name__)
            finish = "length" if has_spoken else "stop"
        except LimitReached as reached:
            limit = reached.limit
        if not has_spoken:
            yield Token(persona.away)
        yield _end(context, finish, limit)

    async def preferred(self, context: RunContext) -> Mapping[str, Any]:
        """The person's stored choice, as params; {} if there is none."""
        if context.state is None or context.owner is None:
            return {}
        kept = await context.state.load(context.state_key(self.id, "preferences", of_person=True))
        if kept is None or kept.value.get("persona", self._default) not in self._personas:
            return {}  # a persona that there is no more
        return kept.value


async def _known(text: str, persona: Persona, context: RunContext) -> tuple[Sequence[str], Sequence[MemoryLine]]:
    if context.memory is None:
        return (), ()
    if isinstance(context.memory, KnowsPersonas):
        context.memory.as_persona(persona.id)
    return await context.memory.profile(), await context.memory.recall(text, limit=MAX_RECALLED)


def _request(messages: Sequence[ChatMessage], tone: Tone, extra: Mapping[str, Any]) -> ChatRequest:
    """The request for the model; a length or temperature set by the client takes precedence."""
    chat_request = ChatRequest(messages, max_tokens=tone.max_tokens, extra=extra)
    tokens, temperature = extra.get("max_completion_tokens") or extra.get("max_tokens"), extra.get("temperature")
    if isinstance(tokens, int) and tokens > 0:
        chat_request = replace(chat_request, max_tokens=tokens)
    if isinstance(temperature, int | float):
        chat_request = replace(chat_request, temperature=float(temperature))
    return chat_request


def _end(context: RunContext, finish: FinishReason | str, limit: str | None) -> Done:
    end = done(context, limit)
    reason: FinishReason = "tool_calls" if finish == "tool_calls" else "length" if finish == "length" else "stop"
    return end if limit else Done(reason, end.usage, end.models)


def make_agent(parts: "Parts") -> ChatAgent:
    """The friend, with the personas of the configuration."""
    return ChatAgent(parts.personas, parts.default_persona)
