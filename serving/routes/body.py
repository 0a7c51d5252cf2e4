"""Reads JSON bodies within limits."""

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import Request

from serving.errors import BodyTooLarge, EncodedBody, IncompleteBody, InvalidRequest
from serving.routes.json_values import check_values

LARGE_BYTES = 2**16
DEEPEST = 64  # levels; a JSON schema with hundreds crashes vLLM's core, which pickles it recursively


async def read_json(http_request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    """The body's bytes and the JSON object in it.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        IncompleteBody: the client disconnected before it had sent all of it.
        InvalidRequest: it is not a JSON object, has too many values, or is nested deeper than DEEPEST.

    """
    body = await read_bytes(http_request, max_bytes)
    await check_values(body)
    parsed = check_json(body)
    if not isinstance(parsed, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    if body.count(b"{") + body.count(b"[") > DEEPEST:  # otherwise it cannot be that deep
        if len(body) > LARGE_BYTES:  # in a thread, so that the event loop goes on: it is Python code
            await asyncio.to_thread(_refuse_deep, parsed)
        else:
            _refuse_deep(parsed)
    return body, parsed


async def read_bytes(http_request: Request, max_bytes: int) -> bytes:
    """The body; raises BodyTooLarge above `max_bytes`, EncodedBody, and IncompleteBody if the client disconnects."""
    encoding = http_request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise EncodedBody(encoding)
    announced = http_request.headers.get("content-length")
    if announced is not None and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    blocks, size_bytes, more = [], 0, True
    while more:  # not Starlette's stream(): an asynchronous generator costs more than reading a chat
        message = await http_request.receive()
        if message["type"] != "http.request":
            raise IncompleteBody
        block = message.get("body", b"")
        size_bytes += len(block)
        if size_bytes > max_bytes:
            raise _too_large(max_bytes)
        blocks.append(block)
        more = message.get("more_body", False)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def read_leniently(body: bytes) -> dict[str, Any]:
    """The object in an optional body; {} for an empty body or another value. Raises InvalidRequest for invalid JSON."""
    parsed = check_json(body) if body.strip() else {}
    return parsed if isinstance(parsed, dict) else {}


def check_json(body: bytes) -> Any:
    """Parse JSON strictly; raises InvalidRequest."""
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
    return BodyTooLarge(f"The request body is too large: at most {max_bytes} bytes are accepted.")


def model_name(parsed: dict[str, Any]) -> str:
    """The `model` field; raises InvalidRequest if it is missing or not a string."""
    name = parsed.get("model")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(
            "You must provide a model parameter: one of the model ids of GET /v1/models.", param="model"
        )
    return name
