"""Validates a generation request against the list of fields before any work is done for it.

pydantic validates; this module converts its errors to OpenAI's, which name the field and repeat nothing else that the
client wrote.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from serving.errors import InvalidRequest
from serving.protocol.request import CHAT
from serving.protocol.request_fields import (
    MAX_FIELDS,
    NOT_FOR_ENGINES,
    TEXT_PARTS,
    ChatRequest,
    CompletionRequest,
    Generated,
)

MAX_FINDINGS = 32  # pydantic errors to look at
_TEXT, _NUMBER, _WHOLE, _OBJECT = "must be a text", "must be a number", "must be a whole number", "must be an object"
_REASONS = {  # by pydantic's kind of error
    "too_long": "at most {max_length} items are accepted",
    "too_short": "at least {min_length} item is required",
    "string_too_long": "at most {max_length} characters are accepted",
    "string_too_short": "at least {min_length} character is required",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_type": _TEXT,
    "bool_type": "must be true or false",
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "list_type": "must be a list",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "none_required": "not accepted here",
    "string_pattern_mismatch": "is not a valid name here",
}
MAX_SHOWN_CHARS = 64  # of a name that the client chose
REPLACED = {  # fields of older versions of OpenAI's and vLLM's protocols, which vLLM ignores, and their successors
    "functions": "tools",
    "function_call": "tool_choice",
    "guided_json": "response_format of type json_schema, or structured_outputs.json",
    "guided_choice": "structured_outputs.choice",
    "guided_regex": "structured_outputs.regex",
    "guided_grammar": "structured_outputs.grammar",
    "guided_decoding_backend": "structured_outputs",
    "guided_whitespace_pattern": "structured_outputs.whitespace_pattern",
}


def check_request(
    path: str, parsed: Mapping[str, Any], *, allow_fields: Collection[str] = (), allow_content: Collection[str] = ()
) -> None:
    """Refuse a request that has an unknown field, a field of the wrong type, or a value out of bounds.

    Args:
        path: CHAT or COMPLETION.
        parsed: the request body.
        allow_fields: more fields that the model's file allows, with any value.
        allow_content: more types of message parts that it allows.

    Raises:
        InvalidRequest: for the first error, with the field as `param`.

    """
    shape: type[Generated] = ChatRequest if path == CHAT else CompletionRequest
    validate(shape, parsed, allow_fields=allow_fields)
    if path == CHAT:
        _check_parts(parsed["messages"], allow_content)


def validate(shape: type[BaseModel], parsed: Mapping[str, Any], *, allow_fields: Collection[str] = ()) -> None:
    """Validate a body against a model of its fields, except for `allow_fields`; raises InvalidRequest."""
    if len(parsed) > MAX_FIELDS:
        raise InvalidRequest(f"The request body must not have more than {MAX_FIELDS} fields.")
    for name, instead in REPLACED.items():
        if parsed.get(name) and name not in allow_fields:
            raise InvalidRequest(f"{name}: not accepted, because engines ignore it; use {instead}.", param=name)
    known = {name: value for name, value in parsed.items() if name not in allow_fields} if allow_fields else parsed
    try:
        shape.__pydantic_validator__.validate_python(known)
    except ValidationError as problem:
        raise _as_invalid_request(problem, parsed, shape) from None


def for_engines(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body without the fields that engines do not know; the same object if there are none."""
    body = with_schema(body)
    if NOT_FOR_ENGINES.isdisjoint(body):
        return body
    return {name: value for name, value in body.items() if name not in NOT_FOR_ENGINES}


def with_schema(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body, in which a `json_object` with a schema, which models would ignore, is a `json_schema`."""
    form = body.get("response_format")
    if form is None or form["type"] != "json_object" or form.get("schema") is None:
        return body
    described = {"name": "response", "schema": form["schema"]}
    return {**body, "response_format": {"type": "json_schema", "json_schema": described}}


def _check_parts(messages: list[dict[str, Any]], allow_content: Collection[str]) -> None:
    for index, message in enumerate(messages):
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part["type"] not in TEXT_PARTS and part["type"] not in allow_content:
                where = f"messages.{index}.content.{number}.type"
                accepted = ", ".join([*sorted(TEXT_PARTS), *sorted(allow_content)])
                raise InvalidRequest(f"{where}: this model accepts {accepted}.", param=where)


def _as_invalid_request(problem: ValidationError, parsed: Mapping[str, Any], shape: type[BaseModel]) -> InvalidRequest:
    errors = problem.errors(include_url=False, include_input=False)[:MAX_FINDINGS]
    field = errors[0]["loc"][:1]
    # In a union, the deepest error belongs to the branch that the client most likely meant.
    candidates = [(_where(error["loc"], parsed), error) for error in errors if error["loc"][:1] == field]
    where, first = max(candidates, key=lambda found: (len(found[0]), found[1]["type"] == "missing"))
    name = ".".join(where)
    if first["type"] == "missing":
        missing = ".".join([*where, str(first["loc"][-1])])
        return InvalidRequest(f"{missing}: field required.", param=missing)
    if first["type"] == "extra_forbidden":
        closest = difflib.get_close_matches(where[-1], shape.model_fields, n=1, cutoff=0.8) if len(where) == 1 else []
        return InvalidRequest(
            f"{name}: this field is not accepted{f' (did you mean {closest[0]}?)' if closest else ''}. See "
            "/openapi.json for the accepted fields; an operator can allow more for a model (allow_fields).",
            param=name,
        )
    reasons = dict.fromkeys(_reason(error) for found, error in candidates if found == where)
    return InvalidRequest(f"{name or 'The request body'}: {', or: '.join(reasons)}.", param=name or None)


def _reason(error: Mapping[str, Any]) -> str:
    """What would be accepted, in our words; pydantic's for kinds of errors that are not listed."""
    words = _REASONS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")[:200]
    return words.format(**{"min_length": 1, **error.get("ctx", {})})[:200]


def _where(loc: tuple[int | str, ...], parsed: Mapping[str, Any]) -> list[str]:
    """The path of the error in the request body, without the union branches that pydantic adds to it."""
    steps: list[str] = []
    here: Any = parsed
    for step in loc:
        is_there = step in here if isinstance(here, Mapping) else isinstance(here, list) and isinstance(step, int)
        if is_there:
            here = here[step]
            steps.append(str(step)[:MAX_SHOWN_CHARS])
    return steps
