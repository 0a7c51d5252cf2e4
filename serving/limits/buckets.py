"""What limits are, where they stand, and how a client is told: OpenAI's `x-ratelimit-*` headers and 429.

Header names and formats: https://platform.openai.com/docs/guides/rate-limits (durations as `6m0s`, `20ms`). It does
not know who counts (`serving.limits.redis_store`, `serving.limits.local_fallback`).
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
        """Return what each of `workers` may grant by itself: all shares together are no more than the limits.

        Except that a share is never less than one, or a limit below the number of workers would be none at all.
        """
        return Limits(*(None if limit is None else max(1, limit // workers) for limit in self))


class Use(NamedTuple):
    """What has been used of a scope, and in how many seconds all of it is forgotten, of the window and of the day."""

    requests: int
    tokens: int
    day_tokens: int
    reset_s: float
    day_reset_s: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit and where it stands. `wait_s`: a refused request may pass it after that; 0: it would now."""

    of: str  # "app" or "user"
    unit: Unit
    period: str  # "min" or "day"
    limit: int
    remaining: int
    reset_s: float
    wait_s: float


def scopes(tier: TierSpec, *, has_user: bool) -> tuple[Limits, ...]:
    """Return the limits of the application, and of the end user when the request names one."""
    app = Limits(tier.requests_per_minute, tier.tokens_per_minute, tier.tokens_per_day)
    user = Limits(tier.user_requests_per_minute, tier.user_tokens_per_minute, tier.user_tokens_per_day)
    return (app, user) if has_user else (app,)


def buckets(of: str, limits: Limits, use: Use, waits_s: Sequence[float]) -> list[Bucket]:
    """Return the limits that a scope has, with their standing; `waits_s` in the order of Limits."""
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
    """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` of the tightest limits; none: no header."""
    told = {}
    for unit in ("requests", "tokens"):
        of_unit = [bucket for bucket in standing if bucket.unit == unit]
        if of_unit:
            tightest = min(of_unit, key=lambda bucket: (bucket.remaining, -bucket.reset_s))
            told[f"x-ratelimit-limit-{unit}"] = str(tightest.limit)
            told[f"x-ratelimit-remaining-{unit}"] = str(tightest.remaining)
            told[f"x-ratelimit-reset-{unit}"] = duration(tightest.reset_s)
    return told


def refusal(standing: Sequence[Bucket], *, app: str, user: str | None) -> RateLimited:
    """Return the error for a request that some of the limits refuse; it names the one that lasts longest."""
    longest = max(standing, key=lambda bucket: bucket.wait_s)
    return RateLimited(
        f"Rate limit reached for {_whose(longest.of, app, user)}: {longest.limit} {longest.unit} per {longest.period}. "
        f"Please try again in {duration(longest.wait_s)}.",
        unit=longest.unit,
        wait_s=longest.wait_s,
        limit_headers=headers(standing),
    )


def refuse_impossible(limits: Sequence[Limits], tokens: int, requests: int = 1, *, app: str, user: str | None) -> None:
    """Raise RateLimited for a request that asks for more than a limit ever allows, however long it waits."""
    for of, scope in zip(("app", "user"), limits, strict=False):
        if scope.requests is not None and requests > scope.requests:
            raise RateLimited(
                f"This request can never pass: it counts as {requests} requests (prompts x n), and the limit for "
                f"{_whose(of, app, user)} is {scope.requests} requests per min. Ask for fewer answers at once.",
                unit="requests",
            )
        for limit, period in ((scope.tokens, "min"), (scope.day_tokens, "day")):
            if limit is not None and tokens > limit:
                raise RateLimited(
                    f"This request can never pass: it may use {tokens} tokens, and the limit for "
                    f"{_whose(of, app, user)} is {limit} tokens per {period}. Shorten the prompt or lower max_tokens.",
                    unit="tokens",
                )


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it (Go's format): 0s, 20ms, 1.5s, 6m0s, 23h59m59s; rounded up, so it is enough."""
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


def _whose(of: str, app: str, user: str | None) -> str:
    return f"application '{app}'" if of == "app" else f"user '{(user or '')[:64]}' of application '{app}'"
