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
    too_large = BodyTooLarge(f"The request body is larger than the {max_bytes} bytes that are accepted.")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > max_bytes:
            raise too_large
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise InvalidRequest(f"The request body is not valid JSON: {problem}.") from None
    if not isinstance(parsed, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    return bytes(body), parsed


def model_name(parsed: dict[str, Any]) -> str:
    """The `model` field; raises InvalidRequest when it is absent or no string."""
    name = parsed.get("model")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(
            "You must provide a model parameter: a model id as GET /v1/models lists them.", param="model"
        )
    return name
