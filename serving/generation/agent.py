"""An agent as a target: its events become a chat completion with an extension.

Text and calls of the client's tools are in OpenAI's fields. Cards, sources, steps and proposals are in
`choices[0].delta.bondhu` of a stream and `choices[0].message.bondhu` of a whole response: `{"events": [{"type": ...}]}`
(`agents.events`). A broken run cannot be continued by another worker or target, because its side effects are done.

A message that hints at a danger is answered by the friend agent, whichever agent it was sent to; if nothing can answer,
by the text with helplines, as in a plain chat. This module does not know what agents do.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any, cast

import orjson

from agents.auto.agent import BY_DEFAULT
from agents.base import Agent, AgentRequest, ModelTraits, RequestRefused, RunContext, Spans
from agents.budget import RunBudget, RunLimits
from agents.catalogue import PREFIX, ROUTER
from agents.events import ClientCalls, Done, Event, Token, document
from agents.registry import Registry
from agents.running import run_agent
from agents.safety.risk import Action
from models.chat import ChatMessage, Json, Role, ToolCall
from models.chat_chunks import collect
from models.openai_format import OWN_FIELDS
from serving.cache.agent_sessions import AgentSessions
from serving.chat_memory.for_agents import AgentRecollection
from serving.errors import DatabaseAway, EngineFailed, InvalidRequest
from serving.generation.chain_model import ChainModel
from serving.generation.crisis import speaks_of_self_harm
from serving.generation.degraded import CRISIS
from serving.generation.target import TargetCall, TargetFailed
from serving.ledger.run_steps import RunSteps
from serving.privacy.detector import Detect
from serving.privacy.markers import FIELD
from serving.protocol import sse
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter
from storage.database import AWAY
from storage.memory.owner import Owner

log = logging.getLogger(__name__)

FRIEND = "chat"  # the agent that answers in a crisis
NOT_PASSED_ON = OWN_FIELDS | {FIELD, "user", "n"}
ROLES: Mapping[str, Role] = {"developer": "system", "function": "tool"}


@dataclass(frozen=True)
class AgentParts:
    """The gateway's collaborators of every run.

    `traits` returns the traits of a model id; `detect` finds private content in a text; `spans` traces steps.
    """

    registry: Registry
    states: AgentSessions
    limits: RunLimits
    traits: Callable[[str], ModelTraits]
    detect: Detect
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    spans: Spans


class AgentTarget:
    """The run of one request; see `serving.generation.target.Target`.

    Args:
        agent: the requested agent.
        parts: the gateway's collaborators.
        memory: the person's memory; None: off.
        make_model: makes the run's model from its request and record.

    """

    def __init__(
        self,
        agent: Agent,
        parts: AgentParts,
        memory: AgentRecollection | None,
        make_model: Callable[[GenerationRequest, RequestRecord], ChainModel],
    ) -> None:
        self.model = f"{PREFIX}{agent.id}"
        self._agent = agent
        self._parts = parts
        self._memory = memory
        self._make_model = make_model

    async def answer(self, call: TargetCall) -> None:
        """Run the agent."""
        request, response, record = call.request, call.response, call.record
        if call.beginning is not None:
            raise TargetFailed("agent_lost", EngineFailed("The agent's run was interrupted. Send the request again."))
        model = self._make_model(request, record)
        agent, agent_request = await self._who_answers(request), request_of(request)
        writer = _Writer(request, response, self.model, model, self._memory, self._parts.new_id())
        steps = RunSteps(self._parts.spans, lambda: record.elapsed_s)
        record.steps = steps.taken
        context = self._context(request, model, steps)
        try:
            try:
                await _stream_run(self._agent, agent, agent_request, context, writer)
            except AWAY as problem:
                if response.started or "state" in agent.needs:
                    raise
                log.warning("agent run without its state: %r", problem)
                writer.forget()
                await _stream_run(self._agent, agent, agent_request, replace(context, state=None), writer)
        except RequestRefused as refusal:
            raise InvalidRequest(str(refusal), param=_param(request, refusal.field)) from refusal
        except AWAY as problem:
            raise TargetFailed("database", DatabaseAway()) from problem
        record.is_free = not record.segments

    async def _who_answers(self, request: GenerationRequest) -> Agent:
        friend = self._parts.registry.find(FRIEND)
        if friend is None or friend is self._agent:
            return self._agent
        if request.risk is not None:
            return self._agent if request.risk.action is Action.CONTINUE else friend
        last = [message for message in request.parsed["messages"] if message.get("role") == "user"][-1:]
        in_crisis = await speaks_of_self_harm(replace(request, parsed={"messages": last}), self._parts.detect)
        return friend if in_crisis else self._agent

    def _context(self, request: GenerationRequest, model: ChainModel, steps: RunSteps) -> RunContext:
        parts = self._parts
        owner = None if request.user is None else Owner(request.app, request.user)
        return RunContext(
            owner=owner,
            conversation=request.agent_conversation,
            budget=RunBudget(parts.limits, time.monotonic, steps.count_outside_call),
            now=parts.now,
            rng=random.SystemRandom(),
            new_id=parts.new_id,
            spans=steps,
            model=model,
            traits=parts.traits(model.model),
            zone=_zone_of(request, self._memory),
            memory=self._memory,
            state=None if owner is None else parts.states.of_run(owner, request.agent_conversation),
        )


def request_of(request: GenerationRequest) -> AgentRequest:
    """The agent's request in a generation request; raises InvalidRequest."""
    own = request.parsed.get(FIELD) or {}
    if not isinstance(own, dict):
        raise InvalidRequest(f"{FIELD}: must be an object.", param=FIELD)
    unknown = sorted(own.keys() - {"persona", "tone", "confirm", "undo"})
    if unknown:
        raise InvalidRequest(
            f"{FIELD}: accepts persona, tone, confirm and undo, not {unknown[0][:64]}.",
            param=f"{FIELD}.{unknown[0][:64]}",
        )
    ids: dict[str, str | None] = {}
    for name in ("confirm", "undo"):
        ids[name] = own.get(name)
        if not isinstance(ids[name], str | None):
            raise InvalidRequest(f"{FIELD}.{name}: must be a proposal's id.", param=f"{FIELD}.{name}")
    return AgentRequest(
        [message_of(message) for message in request.parsed["messages"]],
        params={name: own[name] for name in ("persona", "tone") if own.get(name) is not None},
        extra={name: value for name, value in request.parsed.items() if name not in NOT_PASSED_ON and value is not None}
        | {name: request.parsed[name] for name in ("max_tokens", "max_completion_tokens") if request.parsed.get(name)},
        **ids,
    )


def message_of(wire: Mapping[str, Any]) -> ChatMessage:
    """Convert a message for agents; a marker on it is copied to each of its parts."""
    role, content = wire["role"], wire.get("content") or ""
    content = _bare(content) if isinstance(content, str) else [_part(part) for part in content]
    if wire.get(FIELD):
        parts = [_text(content)] if isinstance(content, str) else content
        content = [{**part, FIELD: wire[FIELD]} for part in parts]
    calls = [_tool_call_of(tool_call) for tool_call in wire.get("tool_calls") or ()]
    return ChatMessage(ROLES.get(role, cast("Role", role)), content, calls, wire.get("tool_call_id"))


def _part(part: Any) -> Json:
    if isinstance(part, str):
        return _text(part)
    return {**part, **_text(part["text"])} if isinstance(part.get("text"), str) else part


def _text(text: str) -> Json:
    return {"type": "text", "text": _bare(text)}


def _bare(text: str) -> str:
    """Remove NUL, which Postgres does not accept in documents."""
    return text.replace("\0", "")


def _tool_call_of(wire: Mapping[str, Any]) -> ToolCall:
    arguments = wire["function"].get("arguments") or ""
    written = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return ToolCall(wire.get("id") or "", wire["function"]["name"], written)


async def _stream_run(
    asked: Agent, agent: Agent, agent_request: AgentRequest, context: RunContext, writer: "_Writer"
) -> None:
    """Run `agent`, maybe in place of the one that was asked: the steps must not tell who was in danger."""
    about = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": asked.id}
    with context.spans(f"invoke_agent {asked.id}", about):
        if asked.id == ROUTER and agent is not asked:
            with context.spans("route", {}) as span:
                span.note("bondhu.route", f"{agent.id} {BY_DEFAULT}")
        async with aclosing(run_agent(agent, agent_request, context)) as events:
            async for event in events:
                await writer.take(event)


def _param(request: GenerationRequest, field: str) -> str | None:
    own = request.parsed.get(FIELD) or {}
    return f"{FIELD}.{field}" if field.partition(".")[0] in own else field or None


class _Writer:
    """Writes a run's events as a completion.

    Events before the first text are held back until the model that answers is known, because a header names it.
    """

    def __init__(
        self,
        request: GenerationRequest,
        response: ResponseWriter,
        label: str,
        model: ChainModel,
        memory: AgentRecollection | None,
        id_: str,
    ) -> None:
        self._request = request
        self._response = response
        self._label = label
        self._model = model
        self._memory = memory
        self._head = {
            "id": f"chatcmpl-{id_}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": label,
        }
        self._chunks: list[Json] = []
        self._calls = 0

    def forget(self) -> None:
        """Discard all events; nothing was sent yet."""
        self._chunks.clear()
        self._calls = 0

    async def take(self, event: Event) -> None:
        """Write an event."""
        if not self._chunks and not self._response.started:
            self._chunks.append(self._chunk({"role": "assistant", "content": ""}))
        self._chunks.append(self._chunk_of(event))
        is_end = isinstance(event, Done)
        if isinstance(event, Done) and (self._request.stream_options.get("include_usage") or not self._request.streams):
            prompt, completion = event.usage.prompt_tokens, event.usage.completion_tokens
            usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
            self._chunks.append({**self._head, "choices": [], "usage": usage})
        if self._request.streams and (is_end or self._response.started or isinstance(event, Token | ClientCalls)):
            await self._send()
        if is_end:
            await self._end()

    async def _send(self) -> None:
        self._prepare()
        chunks, self._chunks = self._chunks, []
        await self._response.events([sse.Event.of(chunk) for chunk in chunks], self._who())

    async def _end(self) -> None:
        if self._request.streams:
            await self._response.events([sse.Event(sse.DONE)], self._who(), is_last=True)
            return
        self._prepare()
        await self._response.whole(200, orjson.dumps(collect(self._chunks)), self._who())

    def _prepare(self) -> None:
        if self._response.started:
            return
        self._response.degraded = self._model.degraded
        if self._model.degraded == CRISIS:  # the text is ours, and names helplines itself
            self._response.guard = None
        if self._memory is not None:
            self._memory.announce(self._response)

    def _who(self) -> str:
        """The label: the agent, and the model that it used."""
        return f"{self._label}; model={self._model.label}" if self._model.label else self._label

    def _chunk_of(self, event: Event) -> Json:
        if isinstance(event, Token):
            return self._chunk({"content": event.text})
        if isinstance(event, ClientCalls):
            return self._chunk({"tool_calls": self._called(event.calls)})
        finish = event.finish_reason if isinstance(event, Done) else None
        return self._chunk({FIELD: {"events": [document(event)]}}, finish)

    def _called(self, calls: Sequence[ToolCall]) -> list[Json]:
        first, self._calls = self._calls, self._calls + len(calls)
        return [
            {"index": index, "id": tool_call.id, "type": "function"}
            | {"function": {"name": tool_call.name, "arguments": tool_call.arguments}}
            for index, tool_call in enumerate(calls, first)
        ]

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        chunk: Json = {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        return chunk | {"usage": None} if self._request.stream_options.get("include_usage") else chunk


def _zone_of(request: GenerationRequest, memory: AgentRecollection | None) -> tzinfo | None:
    """The person's time zone, from their memory or profile."""
    known = None if memory is None else memory.zone
    return known if known is not None or request.person is None else request.person.zone


def check_agent_request(agent: Agent, parsed: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for a field that this agent, or all agents, do not support."""
    is_plain = "response_format" not in agent.passes_on
    faults: dict[str, bool] = {
        "n": (parsed.get("n") or 1) != 1,
        "logprobs": bool(parsed.get("logprobs")),
        "top_logprobs": bool(parsed.get("top_logprobs")),
        "prompt_logprobs": parsed.get("prompt_logprobs") is not None,
        "functions": bool(parsed.get("functions")),
        "structured_outputs": is_plain and parsed.get("structured_outputs") is not None,
        "continue_final_message": bool(parsed.get("continue_final_message")),
    }
    for field, is_there in faults.items():
        if is_there:
            raise InvalidRequest(f"{field}: agents do not support it; use a model id instead.", param=field)
