"""Reading a JSON body within bounds."""

from typing import Any

import orjson
from fastapi import Request

from serving.errors import BodyTooLarge, InvalidRequest


async def read_json(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    """The body's bytes and the object in it.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        InvalidRequest: it is no JSON object.

    """
    announced = request.headers.get("content-length")
    if announced is not None and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise InvalidRequest(f"The request body is not valid JSON: {problem}.") from None
    if not isinstance(parsed, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    return bytes(body), parsed


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
