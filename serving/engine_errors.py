"""What vLLM says when a request fails, told as OpenAI would: status, envelope, the parameter at fault.

vLLM gives `type` as an HTTP phrase, `code` as the status number, `param` as a body path (or not at all), and puts
pydantic's error dicts into the message. Its wordings are those of 0.29; an unknown one keeps its message and names no
parameter. It does not know HTTP, nor the values that were asked for.
"""

import re
from collections.abc import Collection
from typing import Any

import orjson

from serving.errors import ApiError, EngineFailed, InvalidRequest

CONSTRAINTS = ("response_format", "structured_outputs", "tool_choice", "tools")

_PYDANTIC = re.compile(r"'loc': \('body'(?P<loc>.*?)\), 'msg': (?P<quote>['\"])(?P<msg>.*?)(?P=quote), '", re.S)
_FIELD_NAME = re.compile(r"[a-z_][a-z0-9_]*|\d+")
_TYPE_NAMES = frozenset({"str", "int", "float", "bool", "dict", "list"})  # of a union's members, in pydantic's paths
_PARAMETER = re.compile(r" ?\(parameter=(?P<param>[\w.]+)(?:, value=.*)?\)$", re.S)
_LEADING_NAME = re.compile(r"`?(?P<param>[a-z]+(?:_[a-z]+)*)`? (?:must|is not|should|cannot)\b")
_TOO_LONG = re.compile(r"context length|max_model_len|maximum model length")
_OF_THE_PROMPT = re.compile(r"prompt|conversation|[Uu]nknown role|vocabulary|multimodal|TextEncode|input_tokens")
_OF_A_CONSTRAINT = re.compile(r"grammar|constraints for structured|^Choice '")


def translate(status: int, body: bytes, asked: Collection[str]) -> ApiError:
    """The error to raise for vLLM's error answer; `asked` are the names of the request's fields."""
    try:
        error = orjson.loads(body)["error"]
        message, param = str(error["message"]), error.get("param")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return EngineFailed("The engine's answer could not be read.")
    constraint = next((name for name in CONSTRAINTS if name in asked), None)
    if status in (401, 403, 404):  # the engine and the gateway disagree: nothing that the client did
        return EngineFailed("The engine refused the gateway's request.")
    if status == 501:
        return InvalidRequest(message, param=_path(error.get("param")), code="unsupported")
    if status >= 500:
        if constraint and message == "Internal server error":  # vLLM's GenerationError: a grammar that nothing matches
            return InvalidRequest(f"{constraint}: no text that the model can say satisfies it.", param=constraint)
        if "recursion" in message or (
            constraint and not message
        ):  # JSON in a string: the gateway has not seen its depth
            return InvalidRequest("JSON within a string of this request is nested too deeply.", param=constraint)
        return EngineFailed("The engine failed on this request.")
    message, named = _readable(message)
    param = _path(param) or named or _leading(message, asked)
    if param == "max_tokens" and "max_completion_tokens" in asked:  # the one that vLLM takes when both are given
        param, message = "max_completion_tokens", message.replace("max_tokens", "max_completion_tokens")
    if param in (None, "input_tokens"):
        if _OF_A_CONSTRAINT.search(message):
            param = constraint
        elif param or _OF_THE_PROMPT.search(message):
            param = "messages" if "messages" in asked else "prompt"
    code = "context_length_exceeded" if _TOO_LONG.search(message) else None
    return InvalidRequest(message, param=param, code=code)


def translate_event(body: bytes, asked: Collection[str]) -> ApiError:
    """The same for an error within a stream, where the status is in the body."""
    try:
        status = int(orjson.loads(body)["error"]["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        status = 500
    return translate(status, body, asked)


def _path(param: Any) -> str | None:
    """`body.messages.0.content` as the client knows it: `messages.0.content`."""
    return _named(param.removeprefix("body").split(".")) if isinstance(param, str) else None


def _readable(message: str) -> tuple[str, str | None]:
    """The message without pydantic's internals, and the field that it names, if any."""
    if match := _PYDANTIC.search(message):
        field = _named(part.strip(" '") for part in match["loc"].split(","))
        return f"{field or 'body'}: {match['msg']}", field
    if match := _PARAMETER.search(message):
        return message[: match.start()], match["param"]
    return message, None


def _named(parts: Any) -> str | None:
    """A path of field names and indices; ends where pydantic goes on with the names of its own types."""
    names = []
    for part in parts:
        if part in _TYPE_NAMES or part.startswith("list["):
            break
        if _FIELD_NAME.fullmatch(part):
            names.append(part)
    return ".".join(names) or None


def _leading(message: str, asked: Collection[str]) -> str | None:
    match = _LEADING_NAME.match(message)
    return match["param"] if match and match["param"] in {*asked, "max_tokens"} else None
