"""Checks a generation request against the list of fields before anything is done for it.

pydantic does the work; here its findings become OpenAI's errors, which name the field and repeat nothing else of what
the client wrote.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

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

MAX_FINDINGS = 32  # of pydantic's that are looked at
MAX_SHOWN_CHARS = 64  # of a name that a client made up


def check_request(
    path: str, parsed: Mapping[str, Any], *, allow_fields: Collection[str] = (), allow_content: Collection[str] = ()
) -> None:
    """Refuse a request with a field that is not on the list, of another type, or out of bounds.

    Args:
        path: CHAT, or COMPLETION.
        parsed: the body.
        allow_fields: further fields that its model's file allows, with any value.
        allow_content: further types of parts in messages, likewise.

    Raises:
        InvalidRequest: the first fault, with the field as `param`.

    """
    if len(parsed) > MAX_FIELDS:
        raise InvalidRequest(f"The request body must not have more than {MAX_FIELDS} fields.")
    shape: type[Generated] = ChatRequest if path == CHAT else CompletionRequest
    known = {name: value for name, value in parsed.items() if name not in allow_fields} if allow_fields else parsed
    try:
        shape.__pydantic_validator__.validate_python(known)
    except ValidationError as problem:
        raise _as_invalid_request(problem, parsed, shape) from None
    if path == CHAT:
        _check_parts(parsed["messages"], allow_content)


def for_engines(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body without what engines do not know; the same object when there is nothing of it."""
    if NOT_FOR_ENGINES.isdisjoint(body):
        return body
    return {name: value for name, value in body.items() if name not in NOT_FOR_ENGINES}


def _check_parts(messages: list[dict[str, Any]], allow_content: Collection[str]) -> None:
    for index, message in enumerate(messages):
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part["type"] not in TEXT_PARTS and part["type"] not in allow_content:
                where = f"messages.{index}.content.{number}.type"
                accepted = ", ".join([*sorted(TEXT_PARTS), *sorted(allow_content)])
                raise InvalidRequest(f"{where}: this model takes {accepted}.", param=where)


def _as_invalid_request(problem: ValidationError, parsed: Mapping[str, Any], shape: type[Generated]) -> InvalidRequest:
    found = problem.errors(include_url=False, include_context=False, include_input=False)[:MAX_FINDINGS]
    field = found[0]["loc"][:1]
    # Of the branches of a union, what lies deepest is about what the client meant.
    places = [(_where(each["loc"], parsed), each) for each in found if each["loc"][:1] == field]
    where, first = max(places, key=lambda place: len(place[0]))
    name = ".".join(where)
    if first["type"] == "missing":
        missing = ".".join([*where, str(first["loc"][-1])])
        return InvalidRequest(f"{missing}: field required.", param=missing)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where[-1], shape.model_fields, n=1, cutoff=0.8) if len(where) == 1 else []
        return InvalidRequest(
            f"{name}: this field is not accepted{f' (did you mean {near[0]}?)' if near else ''}. The OpenAPI document "
            "(/openapi.json) lists those that are; an operator may allow more for a model (allow_fields).",
            param=name,
        )
    says = dict.fromkeys(each["msg"].removeprefix("Value error, ")[:200] for place, each in places if place == where)
    return InvalidRequest(f"{name or 'The request body'}: {', or: '.join(says)}.", param=name or None)


def _where(loc: tuple[int | str, ...], parsed: Mapping[str, Any]) -> list[str]:
    """The way to the fault in what the client sent; pydantic's also names the branch of a union that it tried."""
    steps: list[str] = []
    here: Any = parsed
    for step in loc:
        is_there = step in here if isinstance(here, Mapping) else isinstance(here, list) and isinstance(step, int)
        if is_there:
            here = here[step]
            steps.append(str(step)[:MAX_SHOWN_CHARS])
    return steps
