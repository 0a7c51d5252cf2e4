"""A request of the Responses protocol as a chat completion's body."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from serving.errors import InvalidRequest
from serving.protocol.check import validate
from serving.protocol.responses.fields import NOT_HERE, SAME, ResponsesRequest
from serving.protocol.responses.items import messages_of, text_at, unknown_type

Json = dict[str, Any]
LOGPROBS = "message.output_text.logprobs"
_NAMES = {  # fields of a chat, as this protocol calls them
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}


def chat_body_of(parsed: Mapping[str, Any], allow_content: Collection[str] = ()) -> Json:
    """The body of the chat; raises InvalidRequest in this protocol's names.

    Args:
        parsed: the request's body.
        allow_content: types of a chat's parts beside texts that the model accepts.

    """
    for name, why in NOT_HERE.items():
        if parsed.get(name):
            raise InvalidRequest(f"{name}: not available here: {why}.", param=name, code="unsupported_parameter")
    validate(ResponsesRequest, parsed)
    messages = messages_of(parsed["input"], allow_content)
    if parsed.get("instructions"):
        messages.insert(0, {"role": "system", "content": parsed["instructions"]})
    body: Json = {name: parsed[name] for name in SAME if parsed.get(name) is not None}
    body["messages"] = messages
    if parsed.get("stream"):
        body["stream_options"] = {"include_usage": True}
    if (max_tokens := parsed.get("max_output_tokens")) is not None:
        body["max_completion_tokens"] = max_tokens
    if tools := parsed.get("tools"):
        body |= _tools(tools, parsed.get("tool_choice"))
    elif parsed.get("tool_choice") not in (None, "none", "auto"):
        raise InvalidRequest("tool_choice: there are no tools to choose from.", param="tool_choice")
    body |= _text(parsed.get("text") or {})
    if (effort := (parsed.get("reasoning") or {}).get("effort")) is not None:
        body["reasoning_effort"] = effort
    if parsed.get("top_logprobs") or LOGPROBS in (parsed.get("include") or ()):
        body |= {"logprobs": True, "top_logprobs": parsed.get("top_logprobs") or 0}
    return body


def name_of(param: str | None) -> str | None:
    """What this protocol calls a field of a chat."""
    if param is None:
        return None
    first, dot, rest = param.partition(".")
    if first == "messages":
        return "input"  # the places in it differ
    return f"{_NAMES.get(first, first)}{dot}{rest}"


def _tools(tools: Sequence[Json], choice: Any) -> Json:
    functions = [_function(tool, f"tools.{index}") for index, tool in enumerate(tools)]
    if choice is None or isinstance(choice, str):
        return {"tools": functions} | ({} if choice is None else {"tool_choice": choice})
    kind = choice.get("type")
    if kind == "function":
        named = {"name": text_at(choice, "name", "tool_choice")}
        return {"tools": functions, "tool_choice": {"type": "function", "function": named}}
    if kind == "allowed_tools":
        allowed = choice.get("tools")
        names = {tool.get("name") for tool in allowed if isinstance(tool, dict)} if isinstance(allowed, list) else ()
        functions = [function for function in functions if function["function"]["name"] in names]
        if not functions or choice.get("mode") not in ("auto", "required"):
            message = "must name some of the tools, with mode auto or required"
            raise InvalidRequest(f"tool_choice.tools: {message}.", param="tool_choice")
        return {"tools": functions, "tool_choice": choice["mode"]}
    raise unknown_type("tool_choice.type", kind, ("function", "allowed_tools"))


def _function(tool: Json, where: str) -> Json:
    if tool.get("type") != "function":
        raise unknown_type(f"{where}.type", tool.get("type"), ("function",))
    function: Json = {"name": text_at(tool, "name", where)}
    function |= {name: tool[name] for name in ("description", "parameters", "strict") if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _text(text: Mapping[str, Any]) -> Json:
    body: Json = {} if text.get("verbosity") is None else {"verbosity": text["verbosity"]}
    form = text.get("format") or {"type": "text"}
    if form["type"] == "json_schema":
        if form.get("schema") is None:
            raise InvalidRequest("text.format.schema: field required.", param="text.format.schema")
        described = {name: form[name] for name in ("description", "schema", "strict") if form.get(name) is not None}
        described["name"] = form.get("name") or "response"
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    elif form["type"] == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body
