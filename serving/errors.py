"""Expected failures, and how each looks to an OpenAI client.

    ApiError                      status  type                    code
    ├── InvalidRequest            400     invalid_request_error   (None, or what the engine says)
    ├── Unauthenticated           401     authentication_error    invalid_api_key
    ├── Forbidden                 403     permission_error        admin_only
    ├── UnknownModel              404     invalid_request_error   model_not_found
    ├── BodyTooLarge              413     invalid_request_error   request_too_large
    ├── EngineFailed              502     api_error               engine_error
    ├── EngineUnavailable         503     api_error               model_not_ready
    └── EngineTimeout             504     api_error               engine_timeout

The envelope is OpenAI's: https://platform.openai.com/docs/guides/error-codes. What the engine answers in its own
dialect is translated in `serving.engine_errors`. Nothing here knows HTTP servers.
"""

from collections.abc import Mapping
from typing import ClassVar

import orjson


class ApiError(Exception):
    """A failure that a client is told about.

    Args:
        message: what is wrong and what would be accepted.
        param: the request field at fault, as the client wrote it.
        code: OpenAI's machine-readable code; the class's own by default.
        retry_after_s: whole seconds after which another try makes sense.

    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to the error."""
        return {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}

    def body(self) -> bytes:
        """The error envelope as JSON."""
        return envelope(self.message, self.type, self.param, self.code)


class InvalidRequest(ApiError):
    """The client's mistake."""

    status, type = 400, "invalid_request_error"


class Unauthenticated(ApiError):
    """No key, or one that is unknown or revoked."""

    status, type, default_code = 401, "authentication_error", "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        """Names the scheme, as RFC 9110 section 11.6.1 wants."""
        return {"www-authenticate": "Bearer"}


class Forbidden(ApiError):
    """The key is valid, and may not do this."""

    status, type, default_code = 403, "permission_error", "admin_only"


class UnknownModel(ApiError):
    """The model is not configured."""

    status, type, default_code = 404, "invalid_request_error", "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model '{model[:200]}' does not exist or is not active: GET /v1/models lists those that are.",
            param="model",
        )


class BodyTooLarge(ApiError):
    """The body exceeds `gateway.max_body_bytes`."""

    status, type, default_code = 413, "invalid_request_error", "request_too_large"


class EngineFailed(ApiError):
    """The engine broke while it answered."""

    status, default_code = 502, "engine_error"


class EngineUnavailable(ApiError):
    """The model is configured, but nothing can answer for it now."""

    status, default_code = 503, "model_not_ready"


class EngineTimeout(ApiError):
    """The engine did not finish within `gateway.request_timeout_s`."""

    status, default_code = 504, "engine_timeout"


def envelope(message: str, type_: str, param: str | None, code: str | None) -> bytes:
    """OpenAI's error object, as JSON."""
    return orjson.dumps({"error": {"message": message, "type": type_, "param": param, "code": code}})


def stream_event(error: ApiError) -> bytes:
    """The error as a server-sent event, for a stream whose headers are already out."""
    return b"data: " + error.body() + b"\n\n"


def http_error(status: int, detail: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, dict[str, str]]:
    """The envelope for an error of the web framework itself (404 route, 405 method)."""
    type_ = "invalid_request_error" if status < 500 else "api_error"
    return status, envelope(detail, type_, None, None), dict(headers or {})
