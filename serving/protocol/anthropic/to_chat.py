"""A request of Anthropic's protocol as a chat completion's body."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from serving.errors import InvalidRequest
from serving.protocol.anthropic.blocks import messages_of, system_text, text_at
from serving.protocol.anthropic.fields import Counted, MessagesRequest
from serving.protocol.check import validate

Json = dict[str, Any]
SAME = ("model", "stream", "max_tokens", "temperature", "top_p", "top_k", "bondhu")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_NAMES = {  # fields of a chat, as this protocol calls them
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "response_format": "output_config.format",
    "reasoning_effort": "output_config.effort",
    "thinking_token_budget": "thinking.budget_tokens",
    "continue_final_message": "messages",
}


def chat_body_of(
    parsed: Mapping[str, Any], allow_content: Collection[str] = (), context_tokens: int | None = None
) -> Json:
    """The body of the chat; raises InvalidRequest in this protocol's names.

    Args:
        parsed: the request's body.
        allow_content: types of a chat's parts beside texts that the model accepts.
        context_tokens: the model's context length. `max_tokens`, which this protocol requires, is no bound from there
            on: clients' defaults are for models of other sizes.

    """
    validate(MessagesRequest, parsed)
    body = {name: parsed[name] for name in SAME if parsed.get(name) is not None} | _prompt_of(parsed, allow_content)
    if context_tokens is not None and parsed["max_tokens"] >= context_tokens:
        del body["max_tokens"]
    if parsed.get("stream"):  # running counts, because the first event has the tokens of the prompt
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    if parsed.get("stop_sequences"):
        body["stop"] = parsed["stop_sequences"]
    if (user := (parsed.get("metadata") or {}).get("user_id")) is not None:
        body["user"] = user
    output = parsed.get("output_config") or {}
    if (effort := output.get("effort")) is not None:
        body["reasoning_effort"] = effort
    if (form := output.get("format")) is not None:
        described = {"name": "output", "schema": form["schema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    if (budget := (parsed.get("thinking") or {}).get("budget_tokens")) is not None:
        body["thinking_token_budget"] = budget
    return body


def prompt_body_of(parsed: Mapping[str, Any], allow_content: Collection[str] = ()) -> Json:
    """The part of a chat's body that makes the prompt, for counting its tokens; raises InvalidRequest."""
    validate(Counted, parsed)
    return {"model": parsed["model"], **_prompt_of(parsed, allow_content)}


def name_of(param: str | None) -> str | None:
    """What this protocol calls a field of a chat."""
    first, dot, rest = (param or "").partition(".")
    if first == "messages":
        return first  # the places in it differ
    return f"{_NAMES.get(first, first)}{dot}{rest}" or None


def _prompt_of(parsed: Mapping[str, Any], allow_content: Collection[str]) -> Json:
    messages = messages_of(parsed["messages"], allow_content)
    if parsed.get("system"):
        messages.insert(0, {"role": "system", "content": system_text(parsed["system"])})
    body: Json = {"messages": messages}
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant" and not last.get("tool_calls"):
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if tools := parsed.get("tools"):
        body |= _tools(tools, parsed.get("tool_choice") or {})
    return body


def _tools(tools: Sequence[Json], choice: Mapping[str, Any]) -> Json:
    body: Json = {"tools": [_function(tool, f"tools.{index}") for index, tool in enumerate(tools)]}
    if choice.get("disable_parallel_tool_use"):
        body["parallel_tool_calls"] = False
    if (kind := choice.get("type")) is None:
        return body
    if kind != "tool":
        return body | {"tool_choice": _CHOICES[kind]}
    if not choice.get("name"):
        raise InvalidRequest("tool_choice.name: required for type tool.", param="tool_choice.name")
    return body | {"tool_choice": {"type": "function", "function": {"name": choice["name"]}}}


def _function(tool: Json, where: str) -> Json:
    kind = tool.get("type")
    if kind not in (None, "custom"):
        named = str(kind)[:64]
        raise InvalidRequest(
            f"{where}.type: '{named}' runs on Anthropic's servers; accepted are tools with an input_schema.",
            param=f"{where}.type",
        )
    function: Json = {"name": text_at(tool, "name", where)}
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    if isinstance(schema := tool.get("input_schema"), dict):
        function["parameters"] = {"type": "object", **schema}
    elif schema is not None:
        raise InvalidRequest(f"{where}.input_schema: must be an object.", param=f"{where}.input_schema")
    return {"type": "function", "function": function}
