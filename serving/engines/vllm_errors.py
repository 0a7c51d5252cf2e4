"""Translates vLLM's errors to OpenAI's: status, envelope, and the parameter at fault.

vLLM sends `type` as an HTTP phrase, `code` as the status number, `param` as a body path (or not at all), and puts
pydantic's error dicts into the message. The patterns are for vLLM 0.29; an unknown error keeps its message and has no
parameter. This module does not know HTTP, nor the values of the request.
"""

import re
from collections.abc import Collection
from typing import Any

import orjson

from serving.errors import ApiError, EngineFailed, InvalidRequest

CONSTRAINTS = ("response_format", "structured_outputs", "tool_choice", "tools")

MAX_CHARACTERS = 2000  # of a message: longer ones quote the request
_LOC, _MSG = "'loc': ('body'", "), 'msg': "  # pydantic's error dicts, as Python writes them
_FIELD_NAME = re.compile(r"[a-z_][a-z0-9_]*|\d+")
_TYPE_NAMES = frozenset({"str", "int", "float", "bool", "dict", "list"})  # union members in pydantic's paths
_PARAMETER = re.compile(r" ?\(parameter=(?P<param>[\w.]{1,100})(?=[,)])")
_LEADING_NAME = re.compile(r"`?(?P<param>[a-z_]{1,64})`? (?:must|is not|should|cannot)\b")
_TOO_LONG = re.compile(r"context length|max_model_len|maximum model length")
_OF_THE_PROMPT = re.compile(r"prompt|conversation|[Uu]nknown role|vocabulary|multimodal|TextEncode|input_tokens")
_FOR_OPERATORS = re.compile(r"(?:^|(?<=[.;]))[^.;]{0,400}\bVLLM_[A-Z_]{1,64}\b[^.;]{0,400}[.;]?")  # their variables
_ENDING = ("EngineCore", "cannot schedule new futures after shutdown")
_OF_A_CONSTRAINT = re.compile(r"grammar|constraints for structured|^Choice '")


def translate(status: int, body: bytes, fields: Collection[str]) -> ApiError:
    """The error to raise for an error response of vLLM; `fields` are the names of the request's fields."""
    error = _error(body)
    if error is None:
        return EngineFailed("The engine's error response could not be parsed.")
    message, param = str(error["message"])[: MAX_CHARACTERS + 1], error.get("param")
    constraint = next((name for name in CONSTRAINTS if name in fields), None)
    if status in (401, 403, 404):  # a mismatch between gateway and engine, not the client's fault
        return EngineFailed("The engine refused the gateway's request.")
    if status == 501:
        return InvalidRequest(message, param=_path(error.get("param")), code="unsupported")
    if status >= 500:
        if constraint and message == "Internal server error":  # vLLM's GenerationError: a grammar that nothing matches
            return InvalidRequest(f"{constraint}: no text of this model can satisfy it.", param=constraint)
        if "recursion" in message or (
            constraint and not message
        ):  # JSON in a string, whose depth the gateway has not checked
            return InvalidRequest("JSON within a string of this request is nested too deeply.", param=constraint)
        return EngineFailed("The engine failed on this request.")
    message, named = _readable(message)
    message = _FOR_OPERATORS.sub("", message).strip() or message
    if len(message) > MAX_CHARACTERS:
        message = message[:MAX_CHARACTERS] + "…"
    param = _path(param) or named or _leading(message, fields)
    if param == "max_tokens" and "max_completion_tokens" in fields:  # vLLM uses this one if both are set
        param, message = "max_completion_tokens", message.replace("max_tokens", "max_completion_tokens")
    if param in (None, "input_tokens", "input_text"):
        if _OF_A_CONSTRAINT.search(message):
            param = constraint
        elif param or _OF_THE_PROMPT.search(message):
            param = "messages" if "messages" in fields else "prompt"
    code = "context_length_exceeded" if _TOO_LONG.search(message) else None
    return InvalidRequest(message, param=param, code=code)


def is_ending(status: int, body: bytes) -> bool:
    """Whether an error means that the server ends: for a moment it outlives its core, and its own threads."""
    error = _error(body) if status >= 500 else None
    return error is not None and str(error["message"]).startswith(_ENDING)


def translate_event(body: bytes, fields: Collection[str]) -> ApiError:
    """The same for an error event in a stream, which has the status in its body."""
    try:
        status = int(orjson.loads(body)["error"]["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        status = 500
    return translate(status, body, fields)


def _error(body: bytes) -> Any:
    """The error in a response, which has a message; None if there is none."""
    try:
        error = orjson.loads(body)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return error if isinstance(error, dict) and "message" in error else None


def _path(param: Any) -> str | None:
    """Convert `body.messages.0.content` to the client's path: `messages.0.content`."""
    return _named(param[:MAX_CHARACTERS].removeprefix("body").split(".")) if isinstance(param, str) else None


def _readable(message: str) -> tuple[str, str | None]:
    """The message without pydantic's internals, and the field in it, if any."""
    _, is_pydantic, rest = message.partition(_LOC)
    loc, has_text, rest = rest.partition(_MSG)
    if is_pydantic and has_text and rest[:1] in ("'", '"'):
        field = _named(part.strip(" '") for part in loc.split(","))
        return f"{field or 'body'}: {rest[1:].partition(f'{rest[0]}, {chr(39)}')[0]}", field
    if match := _PARAMETER.search(message):
        return message[: match.start()], match["param"]
    return message, None


def _named(parts: Any) -> str | None:
    """A path of field names and indices, up to the first type name of pydantic."""
    names = []
    for part in parts:
        if part in _TYPE_NAMES or part.startswith("list["):
            break
        if _FIELD_NAME.fullmatch(part):
            names.append(part)
    return ".".join(names) or None


def _leading(message: str, fields: Collection[str]) -> str | None:
    match = _LEADING_NAME.match(message)
    return match["param"] if match and match["param"] in {*fields, "max_tokens"} else None
