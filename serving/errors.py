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
    ├── MemoryChanged             409     invalid_request_error   memory_changed
    ├── IncompleteBody            408     invalid_request_error   incomplete_body
    ├── BodyTooLarge              413     invalid_request_error   request_too_large
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

The envelope is OpenAI's: https://platform.openai.com/docs/guides/error-codes. What the engine answers in its own
dialect is translated in `serving.engines.vllm_errors`. Nothing here knows HTTP servers.
"""

import math
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


class AnswerTooLarge(InvalidRequest):
    """The whole answer has more bytes than are held of one; what the engine did for it is charged."""

    default_code = "answer_too_large"

    def __init__(self) -> None:
        super().__init__(
            "The answer is larger than what is held of one: ask for fewer choices, tokens or logprobs, or for a stream."
        )


class Unauthenticated(ApiError):
    """No key, or one that is unknown, revoked or expired."""

    status, type, default_code = 401, "authentication_error", "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        """Names the scheme, as RFC 9110 section 11.6.1 wants."""
        return {"www-authenticate": "Bearer"}


class TooManyKeys(ApiError):
    """Too many keys from this address were none; this one has not been looked at."""

    status, type, default_code = 429, "authentication_error", "too_many_invalid_keys"

    def __init__(self, wait_s: int) -> None:
        super().__init__("Too many invalid API keys came from your address. Try again later.", retry_after_s=wait_s)


class Forbidden(ApiError):
    """The key is valid, and may not do this."""

    status, type, default_code = 403, "permission_error", "admin_only"


class UnknownTier(ApiError):
    """The key names a tier that the configuration does not have (any more)."""

    status, type, default_code = 403, "invalid_request_error", "tier_not_configured"


class UnknownModel(ApiError):
    """The model is not configured."""

    status, type, default_code = 404, "invalid_request_error", "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model '{model[:200]}' does not exist or is not active: GET /v1/models lists those that are.",
            param="model",
        )


class UnknownRequest(ApiError):
    """This application has made no request with this id, as far as is known here."""

    status, type, default_code = 404, "invalid_request_error", "request_not_found"

    def __init__(self) -> None:
        super().__init__(
            "No request with this id is known. The id is the reply's x-request-id; a request that is running, or ended "
            "within the last seconds, may be known to another worker only: ask again.",
            param="request_id",
        )


class UnknownStream(ApiError):
    """This application's user has no stream with this event that could still be read; nobody learns whose it is."""

    status, type, default_code = 404, "invalid_request_error", "stream_not_found"

    def __init__(self) -> None:
        super().__init__(
            "No stream with this event can be resumed: its id is unknown, or it is over for too long. Send the request "
            "without Last-Event-ID to begin anew.",
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
    """This person has no wish with this id that could be undone."""

    status, type, default_code = 404, "invalid_request_error", "wish_not_found"


class UnknownProposal(ApiError):
    """No agent has proposed this to the person, in this conversation."""

    status, type, default_code = 404, "invalid_request_error", "proposal_not_found"


class MemoryChanged(ApiError):
    """The memory is in another state than the one that was to be changed."""

    status, type, default_code = 409, "invalid_request_error", "memory_changed"


class IncompleteBody(ApiError):
    """The body ended before it was whole: the client left, or took too long."""

    status, type, default_code = 408, "invalid_request_error", "incomplete_body"

    def __init__(self) -> None:
        super().__init__("The request's body did not arrive.")


class BodyTooLarge(ApiError):
    """The body exceeds what the route takes."""

    status, type, default_code = 413, "invalid_request_error", "request_too_large"


class RateLimited(ApiError):
    """A limit of the key's tier.

    Args:
        message: which limit, whose, and when to try again.
        unit: "requests" or "tokens", which is the error's `type` at OpenAI.
        wait_s: seconds after which the same request can pass; None: never.
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
        """The limits; when to try again, or (as OpenAI's clients read it) that there is no use in trying."""
        if self.wait_s is None:
            return self.limit_headers | {"x-should-retry": "false"}
        return self.limit_headers | super().headers | {"retry-after-ms": str(math.ceil(self.wait_s * 1000))}

    def body(self) -> bytes:
        """The error envelope as JSON."""
        return envelope(self.message, self.unit, self.param, self.code)


class EngineFailed(ApiError):
    """The engine broke while it answered."""

    status, default_code = 502, "engine_error"


class EngineUnavailable(ApiError):
    """The model is configured, but nothing can answer for it now."""

    status, default_code = 503, "model_not_ready"


class ReaderTooSlow(ApiError):
    """One of several readers of a stream is further behind than what is kept of it."""

    status, default_code = 502, "reader_too_slow"

    def __init__(self) -> None:
        super().__init__("This stream was read too slowly: what follows is no longer kept.")


class ShuttingDown(ApiError):
    """The gateway worker stops: nothing begins, and what could not be completed in time ends."""

    status, default_code = 503, "shutting_down"

    def __init__(self) -> None:
        super().__init__(
            "The gateway is being stopped. Try again; a stream whose events have ids goes on with Last-Event-ID.",
            retry_after_s=1,
        )

    @property
    def headers(self) -> dict[str, str]:
        """Come again, on another connection: whoever listens there then is another process."""
        return super().headers | {"connection": "close"}


class LedgerFull(ApiError):
    """No request may begin, because it could not be accounted for: SQL is away for long, or the disk is full."""

    status, default_code = 503, "ledger_full"

    def __init__(self) -> None:
        super().__init__("Requests cannot be accounted for right now, so none are admitted.", retry_after_s=30)


class DatabaseAway(ApiError):
    """SQL cannot be reached, or not in time."""

    status, default_code = 503, "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database cannot be reached right now.", retry_after_s=5)


class CacheAway(ApiError):
    """Redis does not answer, and what is to be forgotten is there."""

    status, default_code = 503, "cache_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "What is remembered is deleted; cached answers could not be, because Redis does not answer. Ask again."
        )


class QueueFull(ApiError):
    """As many requests wait for the model as may wait."""

    status, default_code = 503, "queue_full"


class CallerQueueFull(QueueFull):
    """As many requests of this application, or of its end user, wait for the model as may wait."""

    status, type, default_code = 429, "requests", "rate_limit_exceeded"


class QueueTimeout(ApiError):
    """The request has waited for an engine as long as it may, or would have to wait longer than that."""

    status, default_code = 503, "queue_timeout"


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
