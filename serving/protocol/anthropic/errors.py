"""Errors in Anthropic's shape: https://docs.anthropic.com/en/api/errors."""

from typing import Any

import orjson

PATH = "/v1/messages"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def is_spoken_at(path: str) -> bool:
    """Whether errors at this path have Anthropic's shape."""
    return path == PATH or path.startswith(f"{PATH}/")


def error_of(status: int, error: Any, request_id: str) -> dict[str, Any]:
    """The error document for OpenAI's error object."""
    envelope = error if isinstance(error, dict) else {}
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    body = {"type": kind, "message": str(envelope.get("message"))}
    return {"type": "error", "error": body, "request_id": request_id}


def error_body(status: int, body: bytes, request_id: str) -> bytes:
    """The body of an error response, from OpenAI's envelope."""
    return orjson.dumps(error_of(status, orjson.loads(body).get("error"), request_id))
