"""What can go wrong with Gemini, typed by what whoever called it should do next.

    GeminiFailure
    ├── BadRequest(field)                  Gemini refuses this request; another model may not
    │   └── Unsupported                    it has nothing that does what the field asks
    ├── Refused                            the key, the project or the model's name: the operator's to mend
    ├── Quota(retry_after_s, daily)        too many requests or tokens
    ├── Unavailable(status)                cannot be reached, or broken or overloaded on its side
    ├── Blocked(reason)                    a filter took the prompt or the whole answer
    ├── Empty(reason)                      it finished without an answer
    │   └── ThoughtsOnly                   thoughts used up all the tokens
    ├── CutStream                          the stream broke, or ended without a finish reason
    └── TimedOut
        ├── FirstTokenTimeout
        ├── StallTimeout
        └── TotalTimeout

Failures before the first token leave the client with nothing, so another model can answer in this one's place.
Google's error bodies: https://cloud.google.com/apis/design/errors and google/rpc/error_details.proto. A quota's wait
stands in the body (RetryInfo), not in a header. This module does not know the SDK, nor HTTP.
"""

import re
from collections.abc import Iterator
from typing import Any

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
# Google's names of what a violation is about, each beginning the path that it reports, and the client's name for it.
_FIELDS = {
    "contents": "messages",
    "system_instruction": "messages",
    "tools": "tools",
    "tool_config": "tool_choice",
    "generation_config.max_output_tokens": "max_tokens",
    "generation_config.stop_sequences": "stop",
    "generation_config.response": "response_format",
    "generation_config.candidate_count": "n",
    "generation_config.thinking_config": "reasoning_effort",
    "generation_config.": "",  # temperature, top_p and others are called alike
}


class GeminiFailure(Exception):
    """Gemini did not answer; the message says why and never holds the key."""


class BadRequest(GeminiFailure):
    """The request cannot be answered as it is; `field` names the part at fault as the client wrote it, if known."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unsupported(BadRequest):
    """The request asks for what Gemini cannot do."""

    def __init__(self, field: str, why: str = "Gemini has nothing that does this") -> None:
        super().__init__(f"{field}: {why}.", field=field)


class Refused(GeminiFailure):
    """Gemini refuses the service: its key, its project, or the model's name."""


class Quota(GeminiFailure):
    """A quota is used up.

    `retry_after_s` is how long Google asks to wait; None where it says nothing, and for a daily quota, whose RetryInfo
    speaks of seconds although the day decides.
    """

    def __init__(self, message: str, *, retry_after_s: float | None, daily: bool) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.daily = daily


class Unavailable(GeminiFailure):
    """Gemini cannot be reached (`status` None), or answers that it is broken or overloaded (5xx)."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Blocked(GeminiFailure):
    """A filter took the prompt or the answer before any of it was out; `reason` is Google's word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Gemini blocked this: {reason}.")
        self.reason = reason


class Empty(GeminiFailure):
    """It finished without text or a tool call; `reason` is its finish reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Gemini gave no answer: {reason}.")
        self.reason = reason


class ThoughtsOnly(Empty):
    """All the tokens that it may use went into thoughts."""


class CutStream(GeminiFailure):
    """The stream broke, could not be read, or ended without a finish reason."""


class TimedOut(GeminiFailure):
    """It took too long."""


class FirstTokenTimeout(TimedOut):
    """No text and no tool call within `ttft_timeout_s`."""


class StallTimeout(TimedOut):
    """Nothing new within `stall_timeout_s`, in the middle of an answer."""


class TotalTimeout(TimedOut):
    """Not finished within `total_timeout_s`."""


def failure_of(status: int, body: Any) -> GeminiFailure:
    """The failure that an error answer tells of: its HTTP status and its parsed body, whatever shape that has."""
    error = body.get("error", body) if isinstance(body, dict) else {}
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or f"HTTP {status}")
    details = error.get("details")
    details = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    if status == 429:
        return _quota(message, details)
    if status >= 500:
        return Unavailable(message, status=status)
    of_the_service = status in (401, 403, 404) or error.get("status") == "FAILED_PRECONDITION"
    if of_the_service or any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
        return Refused(message)
    return BadRequest(message, field=_field(details))


def _quota(message: str, details: list[dict[str, Any]]) -> Quota:
    daily = any("PerDay" in str(violation.get("quotaId")) for violation in _listed(details, "violations"))
    delays = (_DURATION.fullmatch(str(detail.get("retryDelay"))) for detail in details)
    retry_after_s = next((float(delay[1]) for delay in delays if delay), None)
    return Quota(message, retry_after_s=None if daily else retry_after_s, daily=daily)


def _field(details: list[dict[str, Any]]) -> str | None:
    for violation in _listed(details, "fieldViolations"):
        path = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", str(violation.get("field"))).lower()
        for start, name in _FIELDS.items():
            if path.startswith(start):
                return name or path.removeprefix(start).partition(".")[0] or None
    return None


def _listed(details: list[dict[str, Any]], key: str) -> Iterator[dict[str, Any]]:
    for detail in details:
        listed = detail.get(key)
        yield from (item for item in listed if isinstance(item, dict)) if isinstance(listed, list) else ()
