"""OpenAI's chat completions as data: a `ChatRequest` as a request body, a response as a `ChatReply`.

Protocol: https://platform.openai.com/docs/api-reference/chat. It has no grammar of choices: vLLM takes choices as
`structured_outputs`, others as a JSON schema with an `enum`. Known faults of servers are handled here: a call whose
arguments come in pieces, pieces without an index, missing usage. It does not know the transport.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, cast

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
    TimedOut,
    TokenUsage,
    ToolCall,
    Unavailable,
)

MAX_RETRY_AFTER_S = 3600.0
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
OWN_FIELDS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"})
ChoicesAs = Literal["structured_outputs", "json_schema"]
_CHOICE = "choice"  # the property of the JSON schema

PARTS_OF_TEXT = ("input_text", "output_text", "refusal", "thinking")  # types of parts that are text in other protocols


def with_plain_messages(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of a chat with messages in the form that every engine accepts; the same object if unchanged."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    plain = [plain_message(message) for message in messages]
    return (
        body
        if all(each is message for each, message in zip(plain, messages, strict=True))
        else {**body, "messages": plain}
    )


def plain_message(message: Any) -> Any:
    """The message with typed text parts, and with arguments of tool calls as text.

    Some clients send plain texts as parts, parts of the Responses protocol, or arguments as an object. Anything else is
    left for the engine to refuse.
    """
    if not isinstance(message, dict):
        return message
    changes: Json = {}
    content, calls = message.get("content"), message.get("tool_calls")
    if isinstance(content, list):
        parts = [_plain_part(part) for part in content]
        if any(part is not original for part, original in zip(parts, content, strict=True)):
            changes["content"] = parts
    if isinstance(calls, list):
        plain = [_plain_call(call) for call in calls]
        if any(call is not original for call, original in zip(plain, calls, strict=True)):
            changes["tool_calls"] = plain
    return {**message, **changes} if changes else message


def _plain_part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, dict) and part.get("type") in PARTS_OF_TEXT:
        return {"type": "text", "text": part.get("text") or part.get("refusal") or part.get("thinking") or ""}
    return part


def _plain_call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), dict):
        return call
    return {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}


def body_of(request: ChatRequest, model: str, *, choices_as: ChoicesAs = "structured_outputs") -> Json:
    """The body of a request to `model`, including OpenAI's fields in `extra`."""
    body: Json = {
        **{name: value for name, value in request.extra.items() if name not in OWN_FIELDS},
        "model": model,
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
    elif request.choices and choices_as == "structured_outputs":
        body["structured_outputs"] = {"choice": list(request.choices)}
    elif request.choices:
        body["response_format"] = _choice_schema(request.choices)
    return body


def reply_of(
    answer: Any, request: ChatRequest, model: str, *, choices_as: ChoicesAs = "structured_outputs"
) -> ChatReply:
    """The reply in a complete answer; raises ChatFailure, or ValueError, KeyError and the like if invalid."""
    choice = answer["choices"][0]
    message = choice["message"]
    return _reply(
        request,
        text=message.get("content") or "",
        calls=[_whole_call(each, index) for index, each in enumerate(message.get("tool_calls") or ())],
        usage=_usage(answer.get("usage")),
        finish=choice.get("finish_reason"),
        model=answer.get("model") or model,
        choices_as=choices_as,
    )


class StreamedReply:
    """A reply that arrives as events.

    Args:
        request: the request.
        model: the requested model.
        choices_as: the server's way to constrain an answer to choices.

    """

    def __init__(self, request: ChatRequest, model: str, *, choices_as: ChoicesAs = "structured_outputs") -> None:
        self._request = request
        self._model = model
        self._choices_as: ChoicesAs = choices_as
        self._texts: list[str] = []
        self._calls: dict[Any, Json] = {}
        self._usage = TokenUsage()
        self._finish: Any = None
        self.hides_text = bool(request.choices) and choices_as == "json_schema"

    def feed(self, event: Json) -> str:
        """Add an event; returns its text, "" if the text is only known at the end. Raises ChatFailure."""
        if event.get("error"):
            raise failure_of(int(event["error"].get("code") or 500), event["error"])
        self._model = event.get("model") or self._model
        if event.get("usage"):
            self._usage = _usage(event["usage"])
        added = ""
        for choice in event.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            for piece in delta.get("tool_calls") or ():
                _gather(self._calls, piece)
            added += delta.get("content") or ""
        if added:
            self._texts.append(added)
        return "" if self.hides_text else added

    def whole(self) -> ChatReply:
        """The reply after the stream; raises CutStream if it was cut off."""
        if self._finish is None:
            raise CutStream("The answer ended without a reason to.")
        return _reply(
            self._request,
            text="".join(self._texts),
            calls=[_whole_call(each, index) for index, each in enumerate(self._calls.values())],
            usage=self._usage,
            finish=self._finish,
            model=self._model,
            choices_as=self._choices_as,
        )


def _reply(
    request: ChatRequest,
    *,
    text: str,
    calls: list[ToolCall],
    usage: TokenUsage,
    finish: Any,
    model: Any,
    choices_as: ChoicesAs,
) -> ChatReply:
    if finish == "content_filter" and not text and not calls:
        raise Blocked("A filter took the answer.")
    if request.choices and choices_as == "json_schema":
        text = str(json.loads(text)[_CHOICE])
    reason = cast("FinishReason", finish if finish in FINISH_REASONS else "stop")
    return ChatReply(text, tuple(calls), usage, reason, str(model))


def failure_of(status: int, error: Any, retry_after: str | None = None) -> ChatFailure:
    """The failure in an error response: with its code and field, without its message, which may quote the request."""
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


def _gather(calls: dict[Any, Json], piece: Mapping[str, Any]) -> None:
    """Add a piece of a call; without an index, a piece with a name begins a call, others continue the last one."""
    function = piece.get("function") or {}
    index = piece.get("index")
    if index is None:
        index = len(calls) if function.get("name") else len(calls) - 1
    call = calls.setdefault(index, {"id": "", "function": {"name": "", "arguments": ""}})
    call["id"] = call["id"] or piece.get("id") or ""
    for part in ("name", "arguments"):
        call["function"][part] += function.get(part) or ""


def _whole_call(call: Mapping[str, Any], index: int) -> ToolCall:
    function = call["function"]
    return ToolCall(call.get("id") or f"call_{index}", function["name"], function.get("arguments") or "")


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
    counts = usage if isinstance(usage, dict) else {}
    return TokenUsage(int(counts.get("prompt_tokens") or 0), int(counts.get("completion_tokens") or 0))
