"""A chat model over HTTP that speaks OpenAI's chat completions: an engine, this project's own gateway, or another.

Protocol: https://platform.openai.com/docs/api-reference/chat. A grammar of choices is no part of it: vLLM takes them as
`structured_outputs`, others as a JSON schema with an `enum`. Never tries again: whoever asks decides. Faults that
servers are known for are met here: a call whose arguments come in pieces, pieces without an index, usage that is
missing. It does not know prompts nor who asks.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from typing import Any, Literal, cast

import aiohttp

from models.chat import (
    BadRequest,
    Blocked,
    ChatFailure,
    ChatMessage,
    ChatReply,
    ChatRequest,
    CutStream,
    FinishReason,
    Json,
    RateLimited,
    Refused,
    TextDelta,
    TimedOut,
    TokenUsage,
    ToolCall,
    Unavailable,
)

MAX_RETRY_AFTER_S = 3600.0
MAX_LINE_BYTES = 1 << 20
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
OWN_FIELDS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"})
ChoicesAs = Literal["structured_outputs", "json_schema"]
_CHOICE = "choice"  # the property of the JSON schema


class OpenAIChat:
    """A `ChatModel` at `base_url`, which ends before `/chat/completions`.

    Args:
        session: connections; whoever made it closes it.
        base_url: e.g. `http://127.0.0.1:8000/v1`.
        model: its id there.
        api_key: never shown in an error or a repr; empty: none is sent.
        headers: of every request.
        fields: of every request's body, e.g. `user`.
        timeout_s: for a whole answer.
        stall_timeout_s: between two pieces of it.
        choices_as: how the server takes a grammar of choices.

    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        base_url: str,
        model: str,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        timeout_s: float = 60.0,
        stall_timeout_s: float = 30.0,
        choices_as: ChoicesAs = "structured_outputs",
    ) -> None:
        self.model = model
        self._session = session
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = dict(headers or {}) | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        self._fields = dict(fields or {})
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_read=stall_timeout_s)
        self._choices_as = choices_as

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The whole answer; raises ChatFailure."""
        body = self._body(request)
        with _failures():
            async with self._session.post(
                self._url, json=body, headers=self._headers, timeout=self._timeout
            ) as response:
                await _raise_for_status(response)
                answer = await response.json(content_type=None)
                choice = answer["choices"][0]
                message = choice["message"]
                calls = [_whole_call(each, place) for place, each in enumerate(message.get("tool_calls") or ())]
                return self._reply(
                    request,
                    text=message.get("content") or "",
                    calls=calls,
                    usage=_usage(answer.get("usage")),
                    finish=choice.get("finish_reason"),
                    model=answer.get("model"),
                )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | ChatReply, None]:
        """The answer's text as it comes, and at the end all of it; raises ChatFailure."""
        body = self._body(request) | {"stream": True, "stream_options": {"include_usage": True}}
        texts: list[str] = []
        calls: dict[Any, Json] = {}
        usage, finish, model = TokenUsage(), None, None
        hides_text = bool(request.choices) and self._choices_as == "json_schema"
        with _failures():
            async with self._session.post(
                self._url, json=body, headers=self._headers, timeout=self._timeout
            ) as response:
                await _raise_for_status(response)
                async with aclosing(_events(response)) as events:
                    async for event in events:
                        model = event.get("model") or model
                        if event.get("usage"):
                            usage = _usage(event["usage"])
                        for choice in event.get("choices") or ():
                            finish = choice.get("finish_reason") or finish
                            delta = choice.get("delta") or {}
                            for piece in delta.get("tool_calls") or ():
                                _gather(calls, piece)
                            if delta.get("content"):
                                texts.append(delta["content"])
                                if not hides_text:
                                    yield TextDelta(delta["content"])
            if finish is None:
                raise CutStream("The answer ended without a reason to.")
            whole = [_whole_call(each, place) for place, each in enumerate(calls.values())]
            text = "".join(texts)
            reply = self._reply(request, text=text, calls=whole, usage=usage, finish=finish, model=model)
        if hides_text:
            yield TextDelta(reply.text)
        yield reply

    def _body(self, request: ChatRequest) -> Json:
        body: Json = {
            **self._fields,
            **{name: value for name, value in request.extra.items() if name not in OWN_FIELDS},
            "model": self.model,
            "messages": [_wire(each) for each in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.tools:
            body["tools"] = [{"type": "function", "function": asdict(each)} for each in request.tools]
            body["tool_choice"] = request.tool_choice
        if request.response_format is not None:
            body["response_format"] = request.response_format
        elif request.choices and self._choices_as == "structured_outputs":
            body["structured_outputs"] = {"choice": list(request.choices)}
        elif request.choices:
            body["response_format"] = _choice_schema(request.choices)
        return body

    def _reply(
        self,
        request: ChatRequest,
        *,
        text: str,
        calls: list[ToolCall],
        usage: TokenUsage,
        finish: Any,
        model: Any,
    ) -> ChatReply:
        if finish == "content_filter" and not text and not calls:
            raise Blocked("A filter took the answer.")
        if request.choices and self._choices_as == "json_schema":
            text = str(json.loads(text)[_CHOICE])
        reason = cast("FinishReason", finish if finish in FINISH_REASONS else "stop")
        return ChatReply(text, tuple(calls), usage, reason, str(model or self.model))


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[Json, None]:
    """The events of a stream up to its end; raises CutStream when it breaks off before."""
    pending = b""
    async for chunk in response.content.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > MAX_LINE_BYTES:
            raise CutStream("A line of the answer was too long.")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = json.loads(data)
            if not isinstance(event, dict):
                raise CutStream("An event of the answer was no object.")
            if event.get("error"):
                raise _failure_of(int(event["error"].get("code") or 500), event["error"])
            yield event
    raise CutStream("The answer broke off.")


def _gather(calls: dict[Any, Json], piece: Mapping[str, Any]) -> None:
    """Add a piece of a call; without an index, one with a name begins a call and one without goes on with the last."""
    function = piece.get("function") or {}
    index = piece.get("index")
    if index is None:
        index = len(calls) if function.get("name") else len(calls) - 1
    call = calls.setdefault(index, {"id": "", "function": {"name": "", "arguments": ""}})
    call["id"] = call["id"] or piece.get("id") or ""
    for part in ("name", "arguments"):
        call["function"][part] += function.get(part) or ""


def _whole_call(call: Mapping[str, Any], place: int) -> ToolCall:
    function = call["function"]
    return ToolCall(call.get("id") or f"call_{place}", function["name"], function.get("arguments") or "")


def _wire(message: ChatMessage) -> Json:
    content = message.content if isinstance(message.content, str) else list(message.content)
    wire: Json = {"role": message.role, "content": content}
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _choice_schema(choices: Any) -> Json:
    schema = {
        "type": "object",
        "properties": {_CHOICE: {"type": "string", "enum": list(choices)}},
        "required": [_CHOICE],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": _CHOICE, "strict": True, "schema": schema}}


def _usage(usage: Any) -> TokenUsage:
    told = usage if isinstance(usage, dict) else {}
    return TokenUsage(int(told.get("prompt_tokens") or 0), int(told.get("completion_tokens") or 0))


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    try:
        body = json.loads(await response.content.read(MAX_LINE_BYTES))
    except ValueError:
        body = {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    raise _failure_of(response.status, error, response.headers.get("retry-after"))


def _failure_of(status: int, error: Any, retry_after: str | None = None) -> ChatFailure:
    """The failure that an error tells of; its code and field are told on, its words may quote the request."""
    error = error if isinstance(error, dict) else {}
    kind = f"HTTP {status} {error.get('code') or error.get('type') or ''}".strip()
    if error.get("code") == "content_filter" or error.get("type") == "content_filter":
        return Blocked(kind)
    if status == 429:
        return RateLimited(kind, retry_after_s=_seconds(retry_after))
    if status in (401, 403, 404):
        return Refused(kind)
    if status in (408, 504):
        return TimedOut(kind)
    if status >= 500:
        return Unavailable(kind, status=status)
    field = error.get("param")
    return BadRequest(kind, field=field if isinstance(field, str) else None)


def _seconds(retry_after: str | None) -> float | None:
    try:
        return min(max(float(retry_after or ""), 0.0), MAX_RETRY_AFTER_S)
    except ValueError:
        return None


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what aiohttp and a body of an unexpected shape raise into a ChatFailure."""
    try:
        yield
    except TimeoutError as problem:
        raise TimedOut("No complete answer in time.") from problem
    except aiohttp.ClientPayloadError as problem:
        raise CutStream("The answer broke off.") from problem
    except (aiohttp.ClientError, OSError) as problem:
        raise Unavailable(f"No answer ({type(problem).__name__}).") from problem
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise CutStream(f"The answer was no answer ({type(problem).__name__}).") from problem
