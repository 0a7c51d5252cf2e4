"""Rate limits, their current state, and how clients see them: OpenAI's `x-ratelimit-*` headers and 429 errors.

Header names and formats: https://platform.openai.com/docs/guides/rate-limits (durations as `6m0s`, `20ms`). Counting is
in `serving.limits.redis_store` and `serving.limits.local_fallback`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from serving.config.schema import TierSpec
from serving.errors import RateLimited

Unit = Literal["requests", "tokens"]


class Limits(NamedTuple):
    """A scope's limits: requests and tokens in any window, tokens in a UTC day; None is no limit."""

    requests: int | None
    tokens: int | None
    day_tokens: int | None

    def share(self, workers: int) -> "Limits":
        """Return what each of `workers` may grant by itself, so that all shares together do not exceed the limits.

        A share is at least one, even if the limit is below the number of workers.
        """
        return Limits(*(None if limit is None else max(1, limit // workers) for limit in self))


class Use(NamedTuple):
    """What a scope has used, and the seconds until the window's use and the day's use are reset."""

    requests: int
    tokens: int
    day_tokens: int
    reset_s: float
    day_reset_s: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit and its state. `wait_s`: seconds after which a refused request passes this limit; 0: it passes now."""

    of: str  # "app" or "user"
    unit: Unit
    period: str  # "min" or "day"
    limit: int
    remaining: int
    reset_s: float
    wait_s: float


def scopes(tier: TierSpec, *, has_user: bool) -> tuple[Limits, ...]:
    """Return the limits of the application, and those of the end user if the request names one."""
    app = Limits(tier.requests_per_minute, tier.tokens_per_minute, tier.tokens_per_day)
    user = Limits(tier.user_requests_per_minute, tier.user_tokens_per_minute, tier.user_tokens_per_day)
    return (app, user) if has_user else (app,)


def buckets(of: str, limits: Limits, use: Use, waits_s: Sequence[float]) -> list[Bucket]:
    """Return the limits of a scope with their state; `waits_s` are in the order of Limits."""
    kinds: tuple[tuple[Unit, str, float], ...] = (
        ("requests", "min", use.reset_s),
        ("tokens", "min", use.reset_s),
        ("tokens", "day", use.day_reset_s),
    )
    return [
        Bucket(of, unit, period, limit, max(0, limit - used), reset_s if used else 0.0, wait_s)
        for (unit, period, reset_s), limit, used, wait_s in zip(kinds, limits, use[:3], waits_s, strict=True)
        if limit is not None
    ]


def headers(standing: Sequence[Bucket]) -> dict[str, str]:
    """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` of the tightest limits; no limit, no header."""
    result = {}
    for unit in ("requests", "tokens"):
        of_unit = [bucket for bucket in standing if bucket.unit == unit]
        if of_unit:
            tightest = min(of_unit, key=lambda bucket: (bucket.remaining, -bucket.reset_s))
            result[f"x-ratelimit-limit-{unit}"] = str(tightest.limit)
            result[f"x-ratelimit-remaining-{unit}"] = str(tightest.remaining)
            result[f"x-ratelimit-reset-{unit}"] = duration(tightest.reset_s)
    return result


def refusal(standing: Sequence[Bucket], *, app: str, user: str | None) -> RateLimited:
    """Return the error for a request that limits refuse; it names the limit with the longest wait."""
    longest = max(standing, key=lambda bucket: bucket.wait_s)
    return RateLimited(
        f"Rate limit reached for {_describe(longest.of, app, user)}: {longest.limit} {longest.unit} per "
        f"{longest.period}. Please try again in {duration(longest.wait_s)}.",
        unit=longest.unit,
        wait_s=longest.wait_s,
        limit_headers=headers(standing),
    )


def refuse_impossible(limits: Sequence[Limits], tokens: int, requests: int = 1, *, app: str, user: str | None) -> None:
    """Raise RateLimited for a request that exceeds a limit by itself, so that waiting does not help."""
    for of, scope in zip(("app", "user"), limits, strict=False):
        if scope.requests is not None and requests > scope.requests:
            raise RateLimited(
                f"This request exceeds a rate limit by itself: it counts as {requests} requests (prompts x n), and the "
                f"limit for {_describe(of, app, user)} is {scope.requests} requests per min. Send fewer prompts or "
                "lower n.",
                unit="requests",
            )
        for limit, period in ((scope.tokens, "min"), (scope.day_tokens, "day")):
            if limit is not None and tokens > limit:
                raise RateLimited(
                    f"This request exceeds a rate limit by itself: it may use {tokens} tokens, and the limit for "
                    f"{_describe(of, app, user)} is {limit} tokens per {period}. Shorten the prompt or lower "
                    "max_tokens.",
                    unit="tokens",
                )


def duration(seconds: float) -> str:
    """Return a duration in OpenAI's format (Go's), rounded up: 0s, 20ms, 1.5s, 6m0s, 23h59m59s."""
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds > 0 else "0s"
    if milliseconds >= 60_000:
        milliseconds = math.ceil(milliseconds / 1000) * 1000
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _describe(of: str, app: str, user: str | None) -> str:
    return f"application '{app}'" if of == "app" else f"user '{(user or '')[:64]}' of application '{app}'"
