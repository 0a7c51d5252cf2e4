"""Reading a JSON body within bounds."""

from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from serving.errors import BodyTooLarge, IncompleteBody, InvalidRequest
from serving.routes.json_values import check_values

BYTES_PER_TOKEN = 3  # to reserve for a body before it is counted: rather too many tokens than too few
DEEPEST = 64  # levels; a JSON schema nested a few hundred deep ends vLLM's core, which pickles it with recursion


def tokens_of(text: str) -> int:
    """About how many tokens it has: rather too many."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


async def read_json(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    """The body's bytes and the object in it.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        IncompleteBody: its client left before all of it was there.
        InvalidRequest: it is no JSON object, has too many values, or is nested deeper than DEEPEST.

    """
    body = await read_bytes(request, max_bytes)
    await check_values(body)
    parsed = check_json(body)
    if not isinstance(parsed, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > DEEPEST:  # else it cannot be that deep
        _refuse_deep(parsed)
    return body, parsed


async def read_bytes(request: Request, max_bytes: int) -> bytes:
    """The body; raises BodyTooLarge when it has more than `max_bytes`, and IncompleteBody when its client leaves."""
    announced = request.headers.get("content-length")
    if announced is not None and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    try:
        async for block in request.stream():
            body += block
            if len(body) > max_bytes:
                raise _too_large(max_bytes)
    except ClientDisconnect:
        raise IncompleteBody from None
    return bytes(body)


def read_leniently(body: bytes) -> dict[str, Any]:
    """The object in a body whose content does not matter much: {} for none; raises InvalidRequest for no JSON."""
    parsed = check_json(body) if body.strip() else {}
    return parsed if isinstance(parsed, dict) else {}


def check_json(body: bytes) -> Any:
    """The value that it holds; raises InvalidRequest."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise InvalidRequest(f"The request body is not valid JSON: {problem}.") from None


def _refuse_deep(parsed: dict[str, Any]) -> None:
    for field, value in parsed.items():
        level, depth = [value], 0
        while level := [inner for outer in level for inner in _inside(outer) if isinstance(inner, (dict, list))]:
            depth += 1
            if depth > DEEPEST:
                raise InvalidRequest(f"{field}: nested deeper than {DEEPEST} levels.", param=field)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than the {max_bytes} bytes that are accepted.")


def model_name(parsed: dict[str, Any]) -> str:
    """The `model` field; raises InvalidRequest when it is absent or no string."""
    name = parsed.get("model")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(
            "You must provide a model parameter: a model id as GET /v1/models lists them.", param="model"
        )
    return name
