"""Expected failures, and how each looks to an OpenAI client.

    ApiError                      status  type                    code
    ├── InvalidRequest            400     invalid_request_error   (None, or what the engine says)
    │   └── AnswerTooLarge        400     invalid_request_error   answer_too_large
    ├── Unauthenticated           401     authentication_error    invalid_api_key
    ├── TooManyKeys               429     authentication_error    too_many_invalid_keys
    ├── Forbidden                 403     permission_error        admin_only
    ├── UnknownTier               403     invalid_request_error   tier_not_configured
    ├── UnknownModel              404     invalid_request_error   model_not_found
    ├── UnknownRequest            404     invalid_request_error   request_not_found
    ├── UnknownStream             404     invalid_request_error   stream_not_found
    ├── UnknownMemory             404     invalid_request_error   memory_not_found
    ├── UnknownConversation       404     invalid_request_error   conversation_not_found
    ├── UnknownMessage            404     invalid_request_error   message_not_found
    ├── UnknownWish               404     invalid_request_error   wish_not_found
    ├── UnknownProposal           404     invalid_request_error   proposal_not_found
    ├── UnknownJob                404     invalid_request_error   job_not_found
    ├── UnknownService            404     invalid_request_error   service_not_found
    ├── ServiceNotConfigured      404     invalid_request_error   service_not_configured
    ├── MemoryChanged             409     invalid_request_error   memory_changed
    ├── IncompleteBody            408     invalid_request_error   incomplete_body
    ├── BodyTooLarge              413     invalid_request_error   request_too_large
    ├── EncodedBody               415     invalid_request_error   encoding_not_accepted
    ├── RateLimited               429     requests, or tokens     rate_limit_exceeded
    ├── EngineFailed              502     api_error               engine_error
    ├── EngineUnavailable         503     api_error               model_not_ready
    ├── ReaderTooSlow             502     api_error               reader_too_slow
    ├── ShuttingDown              503     api_error               shutting_down
    ├── LedgerFull                503     api_error               ledger_full
    ├── DatabaseAway              503     api_error               database_unavailable
    ├── CacheAway                 503     api_error               cache_unavailable
    ├── QueueFull                 503     api_error               queue_full
    │   └── CallerQueueFull       429     requests                rate_limit_exceeded
    ├── QueueTimeout              503     api_error               queue_timeout
    └── EngineTimeout             504     api_error               engine_timeout

The envelope is OpenAI's: https://platform.openai.com/docs/guides/error-codes. `serving.engines.vllm_errors` translates
the engine's own errors. This module does not depend on any HTTP server.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import orjson


class ApiError(Exception):
    """A failure that is reported to the client.

    Args:
        message: what is wrong and what would be accepted.
        param: the request field at fault, as the client wrote it.
        code: OpenAI's machine-readable code; the class's own by default.
        retry_after_s: whole seconds after which a retry makes sense.

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


class AnswerTooLarge(InvalidRequest):
    """A non-streamed response exceeds `gateway.max_answer_bytes`; the tokens that it used are charged."""

    default_code = "answer_too_large"

    def __init__(self) -> None:
        super().__init__(
            "The response is too large to be sent in one piece. Request fewer choices, tokens or logprobs, or set "
            "stream to true."
        )


class Unauthenticated(ApiError):
    """The API key is missing, unknown, revoked or expired."""

    status, type, default_code = 401, "authentication_error", "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        """`WWW-Authenticate` with the scheme (RFC 9110, section 11.6.1)."""
        return {"www-authenticate": "Bearer"}


class TooManyKeys(ApiError):
    """This address has sent too many invalid keys; the current one was not checked."""

    status, type, default_code = 429, "authentication_error", "too_many_invalid_keys"

    def __init__(self, wait_s: int) -> None:
        super().__init__("Too many invalid API keys came from your address. Try again later.", retry_after_s=wait_s)


class Forbidden(ApiError):
    """The key is valid but not allowed to do this."""

    status, type, default_code = 403, "permission_error", "admin_only"


class UnknownTier(ApiError):
    """The key's tier is not (or no longer) in the configuration."""

    status, type, default_code = 403, "invalid_request_error", "tier_not_configured"


class UnknownModel(ApiError):
    """The model is not configured."""

    status, type, default_code = 404, "invalid_request_error", "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model '{model[:200]}' does not exist or is not active. GET /v1/models lists the active models.",
            param="model",
        )


class UnknownRequest(ApiError):
    """This worker knows no request with this id from this application."""

    status, type, default_code = 404, "invalid_request_error", "request_not_found"

    def __init__(self) -> None:
        super().__init__(
            "No request with this id was found. Use the value of the response header x-request-id. A request that is "
            "running, or ended a few seconds ago, may not be visible yet: try again.",
            param="request_id",
        )


class UnknownStream(ApiError):
    """This user has no resumable stream with this event id; a stream of another user gives the same error."""

    status, type, default_code = 404, "invalid_request_error", "stream_not_found"

    def __init__(self) -> None:
        super().__init__(
            "This stream cannot be resumed: the event id is unknown or has expired. Send the request again without "
            "Last-Event-ID to start a new stream.",
            param="last-event-id",
        )


class UnknownMemory(ApiError):
    """This person has no memory with this id."""

    status, type, default_code = 404, "invalid_request_error", "memory_not_found"


class UnknownMessage(ApiError):
    """This person has no message with this id."""

    status, type, default_code = 404, "invalid_request_error", "message_not_found"


class UnknownConversation(ApiError):
    """This person has no conversation with this external id."""

    status, type, default_code = 404, "invalid_request_error", "conversation_not_found"


class UnknownWish(ApiError):
    """This person has no wish with this id that can be undone."""

    status, type, default_code = 404, "invalid_request_error", "wish_not_found"


class UnknownProposal(ApiError):
    """There is no such proposal for the person in this conversation."""

    status, type, default_code = 404, "invalid_request_error", "proposal_not_found"


class UnknownJob(ApiError):
    """This person has no job with this id."""

    status, type, default_code = 404, "invalid_request_error", "job_not_found"


class UnknownService(ApiError):
    """There is no service of that name."""

    status, type, default_code = 404, "invalid_request_error", "service_not_found"

    def __init__(self, service: str) -> None:
        super().__init__(f"There is no service '{service[:64]}': GET /api/v1/services lists all services.")


class ServiceNotConfigured(ApiError):
    """An external service is not configured."""

    status, type, default_code = 404, "invalid_request_error", "service_not_configured"


class MemoryChanged(ApiError):
    """The memory changed since it was read."""

    status, type, default_code = 409, "invalid_request_error", "memory_changed"


class AmbiguousMessage(ApiError):
    """An application's id of a message stands in several conversations."""

    status, type, default_code = 409, "invalid_request_error", "message_ambiguous"


class IncompleteBody(ApiError):
    """The client disconnected, or timed out, before it had sent the whole body."""

    status, type, default_code = 408, "invalid_request_error", "incomplete_body"

    def __init__(self) -> None:
        super().__init__("The request body is incomplete: the connection ended before all of it had arrived.")


class BodyTooLarge(ApiError):
    """The body is larger than the route accepts."""

    status, type, default_code = 413, "invalid_request_error", "request_too_large"


class EncodedBody(ApiError):
    """The body is compressed, or encoded otherwise."""

    status, type, default_code = 415, "invalid_request_error", "encoding_not_accepted"

    def __init__(self, encoding: str) -> None:
        super().__init__(
            f"content-encoding: '{encoding[:32]}' is not accepted; send the body as it is.", param="content-encoding"
        )


class RateLimited(ApiError):
    """The request exceeds a limit of the key's tier.

    Args:
        message: which limit was hit, by which application or user, and when to retry.
        unit: "requests" or "tokens"; OpenAI uses it as the error's `type`.
        wait_s: seconds after which the same request can pass; None: it never can.
        limit_headers: the `x-ratelimit-*` headers.

    """

    status, default_code = 429, "rate_limit_exceeded"

    def __init__(
        self, message: str, *, unit: str, wait_s: float | None = None, limit_headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, retry_after_s=None if wait_s is None else max(1, math.ceil(wait_s)))
        self.unit = unit
        self.wait_s = wait_s
        self.limit_headers = dict(limit_headers or {})

    @property
    def headers(self) -> dict[str, str]:
        """The limits, and when to retry; OpenAI's clients read `x-should-retry: false` as never."""
        if self.wait_s is None:
            return self.limit_headers | {"x-should-retry": "false"}
        return self.limit_headers | super().headers | {"retry-after-ms": str(math.ceil(self.wait_s * 1000))}

    def body(self) -> bytes:
        """The error envelope as JSON."""
        return envelope(self.message, self.unit, self.param, self.code)


class EngineFailed(ApiError):
    """The engine failed while it generated the response."""

    status, default_code = 502, "engine_error"


class EngineUnavailable(ApiError):
    """The model is configured, but no replica can serve it now."""

    status, default_code = 503, "model_not_ready"


class ReaderTooSlow(ApiError):
    """One of several readers of a stream has fallen behind the events that are still buffered."""

    status, default_code = 502, "reader_too_slow"

    def __init__(self) -> None:
        super().__init__(
            "This stream was read too slowly: the next events are no longer buffered. Send the request again."
        )


class ShuttingDown(ApiError):
    """The gateway worker is stopping: it accepts no new requests and ends those that run past the drain time."""

    status, default_code = 503, "shutting_down"

    def __init__(self) -> None:
        super().__init__(
            "The gateway is shutting down. Try again, or resume a stream whose events have ids with Last-Event-ID.",
            retry_after_s=1,
        )

    @property
    def headers(self) -> dict[str, str]:
        """Close the connection, so that the retry reaches another process."""
        return super().headers | {"connection": "close"}


class LedgerFull(ApiError):
    """New requests are refused because they cannot be recorded: SQL has been down for long, or the disk is full."""

    status, default_code = 503, "ledger_full"

    def __init__(self) -> None:
        super().__init__(
            "Usage cannot be recorded right now, so no requests are accepted. Try again later.", retry_after_s=30
        )


class DatabaseAway(ApiError):
    """SQL is unreachable or did not respond in time."""

    status, default_code = 503, "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database is unavailable right now. Try again later.", retry_after_s=5)


class CacheAway(ApiError):
    """Redis does not respond, so data in it cannot be deleted."""

    status, default_code = 503, "cache_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The memories were deleted, but cached answers could not be, because Redis is unavailable. Send the "
            "request again."
        )


class QueueFull(ApiError):
    """The model's waiting line is full."""

    status, default_code = 503, "queue_full"


class CallerQueueFull(QueueFull):
    """This application, or its end user, has too many requests waiting for the model."""

    status, type, default_code = 429, "requests", "rate_limit_exceeded"


class QueueTimeout(ApiError):
    """The request waited the maximum time for an engine, or is expected to wait longer than that."""

    status, default_code = 503, "queue_timeout"


class EngineTimeout(ApiError):
    """The engine did not finish within `gateway.request_timeout_s`."""

    status, default_code = 504, "engine_timeout"


def envelope(message: str, type_: str, param: str | None, code: str | None) -> bytes:
    """OpenAI's error object, as JSON."""
    return orjson.dumps({"error": {"message": message, "type": type_, "param": param, "code": code}})


def http_error(status: int, detail: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, dict[str, str]]:
    """The envelope for an error of the web framework itself (404 route, 405 method)."""
    type_ = "invalid_request_error" if status < 500 else "api_error"
    return status, envelope(detail, type_, None, None), dict(headers or {})
