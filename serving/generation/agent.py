"""An agent as a target: what it tells becomes a chat completion, with what is more in an extension.

Text and calls of the client's tools are where every client looks for them. Cards, sources, steps and proposals are
`choices[0].delta.bondhu` in a stream and `choices[0].message.bondhu` in a whole answer: `{"events": [{"type": ...}]}`
(`agents.events`). A run is not gone on with by another worker, nor by another target: what it did is done.

Who writes of harming themselves is answered by the friend, whichever agent they wrote to; where nothing can answer it,
by the text that names help, as in a plain chat. It does not know what agents do.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import orjson

from agents.base import Agent, AgentRequest, ModelTraits, RequestRefused, RunContext
from agents.budget import RunBudget, RunLimits
from agents.events import ClientCalls, Done, Event, Token, document
from agents.registry import PREFIX, Registry
from agents.running import run_agent
from models.chat import ChatMessage, Json, Role, ToolCall
from models.chat_chunks import collect
from models.openai_format import OWN_FIELDS
from serving.chat_memory.for_agents import AgentRecollection
from serving.errors import DatabaseAway, EngineFailed, InvalidRequest
from serving.generation.agent_model import AgentModel
from serving.generation.continuation import PartialAnswer
from serving.generation.crisis import speaks_of_self_harm
from serving.generation.target import TargetFailed
from serving.privacy.detector import Detect
from serving.privacy.markers import FIELD
from serving.protocol.record import RequestRecord
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter
from serving.protocol.sse import DONE
from storage.agents.states import SqlStates
from storage.database import AWAY
from storage.memory.owner import Owner

log = logging.getLogger(__name__)

FRIEND = "chat"  # who answers in a crisis
NOT_PASSED_ON = OWN_FIELDS | {FIELD, "user", "n"}
ROLES: Mapping[str, Role] = {"developer": "system", "function": "tool"}


@dataclass(frozen=True)
class AgentParts:
    """What every run has of the gateway's.

    `traits` are those of the model that an id names; `detect` finds what is private in a text.
    """

    registry: Registry
    states: SqlStates
    limits: RunLimits
    traits: Callable[[str], ModelTraits]
    detect: Detect
    now: Callable[[], datetime]
    new_id: Callable[[], str]


class AgentTarget:
    """One request's run; see `serving.generation.target.Target`.

    Args:
        agent: who was asked.
        parts: of the gateway.
        memory: of the person; None: off.
        make_model: the model that the run asks, for its request and its entry.

    """

    def __init__(
        self,
        agent: Agent,
        parts: AgentParts,
        memory: AgentRecollection | None,
        make_model: Callable[[GenerationRequest, RequestRecord], AgentModel],
    ) -> None:
        self.model = f"{PREFIX}{agent.id}"
        self._agent = agent
        self._parts = parts
        self._memory = memory
        self._make_model = make_model

    async def answer(
        self,
        call: GenerationRequest,
        reply: ResponseWriter,
        entry: RequestRecord,
        *,
        reason: str,
        beginning: PartialAnswer | None,
    ) -> None:
        """Run it."""
        if beginning is not None:
            raise TargetFailed("agent_lost", EngineFailed("The run broke off; ask again."))
        model = self._make_model(call, entry)
        agent, request = await self._who_answers(call), request_of(call)
        writer = _Writer(call, reply, self.model, model, self._memory, self._parts.new_id())
        context = self._context(call, model)
        try:
            try:
                await _tell(agent, request, context, writer)
            except AWAY as problem:
                if reply.started or "state" in agent.needs:
                    raise
                log.warning("an agent runs without its state: %r", problem)
                writer.forget()
                await _tell(agent, request, replace(context, state=None), writer)
        except RequestRefused as refusal:
            raise InvalidRequest(str(refusal), param=_param(call, refusal.field)) from refusal
        except AWAY as problem:
            raise TargetFailed("database", DatabaseAway()) from problem
        entry.is_free = not entry.segments

    async def _who_answers(self, call: GenerationRequest) -> Agent:
        friend = self._parts.registry.find(FRIEND)
        if friend is None or friend is self._agent:
            return self._agent
        last = [each for each in call.parsed["messages"] if each.get("role") == "user"][-1:]
        in_crisis = await speaks_of_self_harm(replace(call, parsed={"messages": last}), self._parts.detect)
        return friend if in_crisis else self._agent

    def _context(self, call: GenerationRequest, model: AgentModel) -> RunContext:
        parts = self._parts
        return RunContext(
            owner=None if call.user is None else Owner(call.app, call.user),
            conversation=call.agent_conversation,
            budget=RunBudget(parts.limits, time.monotonic),
            now=parts.now,
            rng=random.SystemRandom(),
            new_id=parts.new_id,
            model=model,
            traits=parts.traits(model.model),
            zone=None if self._memory is None else self._memory.zone,
            memory=self._memory,
            state=parts.states,
        )


def request_of(call: GenerationRequest) -> AgentRequest:
    """What an agent is asked; raises InvalidRequest."""
    own = call.parsed.get(FIELD) or {}
    if not isinstance(own, dict):
        raise InvalidRequest(f"{FIELD}: must be an object.", param=FIELD)
    unknown = sorted(own.keys() - {"persona", "tone", "confirm", "undo"})
    if unknown:
        raise InvalidRequest(
            f"{FIELD}: takes persona, tone, confirm, undo; not {unknown[0][:64]}.", param=f"{FIELD}.{unknown[0][:64]}"
        )
    ids: dict[str, str | None] = {}
    for name in ("confirm", "undo"):
        ids[name] = own.get(name)
        if not isinstance(ids[name], str | None):
            raise InvalidRequest(f"{FIELD}.{name}: must be a proposal's id.", param=f"{FIELD}.{name}")
    return AgentRequest(
        [message_of(each) for each in call.parsed["messages"]],
        params={name: own[name] for name in ("persona", "tone") if own.get(name) is not None},
        extra={name: value for name, value in call.parsed.items() if name not in NOT_PASSED_ON and value is not None}
        | {name: call.parsed[name] for name in ("max_tokens", "max_completion_tokens") if call.parsed.get(name)},
        **ids,
    )


def message_of(wire: Mapping[str, Any]) -> ChatMessage:
    """A message as agents know it; the sender's mark on it becomes one on each of its parts."""
    role, content = wire["role"], wire.get("content") or ""
    content = _bare(content) if isinstance(content, str) else [_part(part) for part in content]
    if wire.get(FIELD):
        parts = [_text(content)] if isinstance(content, str) else content
        content = [{**part, FIELD: wire[FIELD]} for part in parts]
    calls = [_call_of(each) for each in wire.get("tool_calls") or ()]
    return ChatMessage(ROLES.get(role, cast("Role", role)), content, calls, wire.get("tool_call_id"))


def _part(part: Any) -> Json:
    if isinstance(part, str):
        return _text(part)
    return {**part, **_text(part["text"])} if isinstance(part.get("text"), str) else part


def _text(text: str) -> Json:
    return {"type": "text", "text": _bare(text)}


def _bare(text: str) -> str:
    """Without NUL, which Postgres keeps in no document."""
    return text.replace("\0", "")


def _call_of(wire: Mapping[str, Any]) -> ToolCall:
    arguments = wire["function"].get("arguments") or ""
    written = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return ToolCall(wire.get("id") or "", wire["function"]["name"], written)


async def _tell(agent: Agent, request: AgentRequest, context: RunContext, writer: "_Writer") -> None:
    async with aclosing(run_agent(agent, request, context)) as events:
        async for event in events:
            await writer.take(event)


def _param(call: GenerationRequest, field: str) -> str | None:
    own = call.parsed.get(FIELD) or {}
    return f"{FIELD}.{field}" if field.partition(".")[0] in own else field or None


class _Writer:
    """Writes a run's events as a completion.

    What comes before the first text waits for it: then it is known who answers, which a header tells.
    """

    def __init__(
        self,
        call: GenerationRequest,
        reply: ResponseWriter,
        label: str,
        model: AgentModel,
        memory: AgentRecollection | None,
        id_: str,
    ) -> None:
        self._call = call
        self._reply = reply
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
        """Begin again; nothing was sent."""
        self._chunks.clear()
        self._calls = 0

    async def take(self, event: Event) -> None:
        """Write it."""
        if not self._chunks and not self._reply.started:
            self._chunks.append(self._chunk({"role": "assistant", "content": ""}))
        self._chunks.append(self._chunk_of(event))
        is_end = isinstance(event, Done)
        if isinstance(event, Done) and (self._call.stream_options.get("include_usage") or not self._call.streams):
            prompt, completion = event.usage.prompt_tokens, event.usage.completion_tokens
            usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
            self._chunks.append({**self._head, "choices": [], "usage": usage})
        if self._call.streams and (is_end or self._reply.started or isinstance(event, Token | ClientCalls)):
            await self._send()
        if is_end:
            await self._end()

    async def _send(self) -> None:
        self._prepare()
        chunks, self._chunks = self._chunks, []
        await self._reply.event(b"".join(b"data: " + orjson.dumps(each) + b"\n\n" for each in chunks), self._who())

    async def _end(self) -> None:
        if self._call.streams:
            await self._reply.event(DONE, self._who())
            await self._reply.end()
            return
        self._prepare()
        await self._reply.whole(200, orjson.dumps(collect(self._chunks)), self._who())

    def _prepare(self) -> None:
        if self._reply.started:
            return
        self._reply.degraded = self._model.degraded
        if self._memory is not None:
            self._memory.announce(self._reply)

    def _who(self) -> str:
        """The agent, and the model that answered it."""
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
            {"index": index, "id": call.id, "type": "function"}
            | {"function": {"name": call.name, "arguments": call.arguments}}
            for index, call in enumerate(calls, first)
        ]

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def check_agent_request(agent: Agent, parsed: Mapping[str, Any]) -> None:
    """Refuse by name what the agent, or any, does not do; raises InvalidRequest."""
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
            raise InvalidRequest(f"{field}: agents do not take it; a model's id does.", param=field)
