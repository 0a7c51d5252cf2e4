"""Gemini's failures: those of `models.chat`, with details that only Google reports.

    ChatFailure
    ├── BadRequest(field)
    │   └── Unsupported                    Gemini has no equivalent of the field
    ├── RateLimited(retry_after_s)
    │   └── Quota(daily)                   too many requests or tokens in a minute or a day
    ├── Blocked
    │   └── Filtered(reason)               a filter blocked the prompt or the whole answer
    ├── CutStream
    │   └── Empty(reason)                  it finished without an answer
    │       └── ThoughtsOnly               thoughts used up all the tokens
    └── TimedOut
        ├── FirstTokenTimeout
        ├── StallTimeout
        └── TotalTimeout

After a failure before the first token, the client has received nothing, so another model can answer instead. Google's
error bodies: https://cloud.google.com/apis/design/errors and google/rpc/error_details.proto. The wait after a quota
error is in the body (RetryInfo), not in a header. This module knows neither the SDK nor HTTP.
"""

import re
from collections.abc import Iterator
from typing import Any

from models.chat import BadRequest, Blocked, ChatFailure, CutStream, RateLimited, Refused, TimedOut, Unavailable

DAY_S, PACIFIC_BEHIND_S = 86_400.0, 28_800.0
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


class Unsupported(BadRequest):
    """The request needs something that Gemini cannot do."""

    def __init__(self, field: str, why: str = "Gemini has nothing that does this") -> None:
        super().__init__(f"{field}: {why}.", field=field)


class Quota(RateLimited):
    """A quota is used up.

    `retry_after_s` is the wait that Google requests; None if it names none. The RetryInfo of a daily quota names only
    seconds; then it is the time until Google's next day.
    """

    def __init__(self, message: str, *, retry_after_s: float | None, daily: bool) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.daily = daily


class Filtered(Blocked):
    """A filter blocked the prompt, or the answer before any of it was sent; `reason` is Google's code."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Gemini blocked this: {reason}.")
        self.reason = reason


class Empty(CutStream):
    """It finished without text or a tool call; `reason` is its finish reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Gemini gave no answer: {reason}.")
        self.reason = reason


class ThoughtsOnly(Empty):
    """The thoughts used all its tokens."""


class FirstTokenTimeout(TimedOut):
    """No text and no tool call within `ttft_timeout_s`."""


class StallTimeout(TimedOut):
    """No new piece within `stall_timeout_s`, in the middle of an answer."""


class TotalTimeout(TimedOut):
    """Not finished within `total_timeout_s`."""


def failure_of(status: int, body: Any, *, now_s: float) -> ChatFailure:
    """The failure in an error response.

    Args:
        status: the HTTP status.
        body: parsed JSON of any shape.
        now_s: seconds since the epoch.

    """
    error = body.get("error", body) if isinstance(body, dict) else {}
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or f"HTTP {status}")
    details = error.get("details")
    details = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    if status == 429:
        return _quota(message, details, now_s)
    if status >= 500:
        return Unavailable(message, status=status)
    of_the_service = status in (401, 403, 404) or error.get("status") == "FAILED_PRECONDITION"
    if of_the_service or any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
        return Refused(message)
    return BadRequest(message, field=_field(details))


def _quota(message: str, details: list[dict[str, Any]], now_s: float) -> Quota:
    if any("PerDay" in str(violation.get("quotaId")) for violation in _listed(details, "violations")):
        return Quota(message, retry_after_s=_until_new_day(now_s), daily=True)
    delays = (_DURATION.fullmatch(str(detail.get("retryDelay"))) for detail in details)
    return Quota(message, retry_after_s=next((float(delay[1]) for delay in delays if delay), None), daily=False)


def _until_new_day(now_s: float) -> float:
    """Seconds to Google's midnight, when daily quotas are reset (Pacific time; -8 h is never too early)."""
    return DAY_S - (now_s - PACIFIC_BEHIND_S) % DAY_S


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
