"""What can go wrong with Gemini: `models.chat`'s failures, and what only Google tells of.

    ChatFailure
    ├── BadRequest(field)
    │   └── Unsupported                    it has nothing that does what the field asks
    ├── RateLimited(retry_after_s)
    │   └── Quota(daily)                   too many requests or tokens, of a minute or of the day
    ├── Blocked
    │   └── Filtered(reason)               a filter took the prompt or the whole answer
    ├── CutStream
    │   └── Empty(reason)                  it finished without an answer
    │       └── ThoughtsOnly               thoughts used up all the tokens
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

    `retry_after_s` is how long Google asks to wait; None where it says nothing. A daily quota's RetryInfo speaks of
    seconds although the day decides: then it is the time until the next day begins there.
    """

    def __init__(self, message: str, *, retry_after_s: float | None, daily: bool) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.daily = daily


class Filtered(Blocked):
    """A filter took the prompt or the answer before any of it was out; `reason` is Google's word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Gemini blocked this: {reason}.")
        self.reason = reason


class Empty(CutStream):
    """It finished without text or a tool call; `reason` is its finish reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Gemini gave no answer: {reason}.")
        self.reason = reason


class ThoughtsOnly(Empty):
    """All the tokens that it may use went into thoughts."""


class FirstTokenTimeout(TimedOut):
    """No text and no tool call within `ttft_timeout_s`."""


class StallTimeout(TimedOut):
    """Nothing new within `stall_timeout_s`, in the middle of an answer."""


class TotalTimeout(TimedOut):
    """Not finished within `total_timeout_s`."""


def failure_of(status: int, body: Any, *, now_s: float) -> ChatFailure:
    """The failure that an error answer tells of.

    Args:
        status: HTTP's.
        body: parsed, whatever shape it has.
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
    """Seconds to midnight at Google's, where daily quotas begin anew (Pacific time; -8 h is never too early)."""
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
