"""Limits without Redis: each gateway worker grants its share of them from its own memory.

It is the same sliding-window log as in `serving.limits.redis_store`, for this worker's grants only, and always kept up
to date: when Redis fails, the worker's earlier grants count. With N workers, each grants up to limit / N.

Bound: over one outage, all workers together grant in any window at most the limit times (2 - 1 / N): what Redis had
granted, in the worst case all through one worker, plus the shares of the others. One worker alone never exceeds the
limit. Grants of the outage are sent to Redis when it is back, so recovery adds nothing; only if Redis comes back empty,
the bound is twice the limit. A limit below N counts as N (a share is at least 1); a worker that starts during the
outage adds a share. The cost: a request of more tokens than a share must wait until Redis is back.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from serving.limits.buckets import Bucket, Limits, Use, buckets

DAY_S = 86400
MAX_SCOPES = 50_000  # applications and users remembered; the least recently used are forgotten


class Window:
    """The log of one scope: request id -> (start, requests (0 for an excess), tokens), oldest first."""

    __slots__ = ("day", "day_tokens", "entries", "requests", "tokens")

    def __init__(self) -> None:
        self.entries: dict[str, tuple[float, int, int]] = {}
        self.requests = 0
        self.tokens = 0
        self.day = 0
        self.day_tokens = 0

    def forget(self, before: float, day: int) -> None:
        """Drop entries that began at `before` or earlier, and reset the counter of another day."""
        while self.entries:
            request_id, (at, requests, tokens) = next(iter(self.entries.items()))
            if at > before:
                break
            del self.entries[request_id]
            self.requests -= requests
            self.tokens -= tokens
        if day != self.day:
            self.day, self.day_tokens = day, 0

    def add(self, request_id: str, at: float, requests: int, tokens: int) -> None:
        """Add an entry that is newer than all others."""
        self.entries[request_id] = (at, requests, tokens)
        self.requests += requests
        self.tokens += tokens

    def close(self, request_id: str, reserved: int, used: int | None, now: float) -> None:
        """Replace the reserved tokens by the used ones; None removes the request."""
        existing = self.entries.get(request_id)
        if existing is not None:
            at, requests, tokens = existing
            if used is None:
                del self.entries[request_id]
                self.requests -= requests
            else:
                self.entries[request_id] = (at, requests, used)
            self.tokens += (used or 0) - tokens
        elif used is not None and used > reserved:
            self.add(request_id, now, 0, used - reserved)

    def use(self, now: float, window_s: float, day_reset_s: float) -> Use:
        """Return the current use."""
        newest = next(reversed(self.entries.values()))[0] if self.entries else now - window_s
        return Use(self.requests, self.tokens, self.day_tokens, newest + window_s - now, day_reset_s)

    def wait_s(self, part: int, excess: int, leaves_after_s: float) -> float:
        """Return when the oldest entries that amount to `excess` have left the window; inf if they never suffice."""
        for at, *counts in self.entries.values():
            excess -= counts[part]
            if excess <= 0:
                return at + leaves_after_s
        return float("inf")


class Shares:
    """This worker's share of the limits, by application and user.

    Args:
        window_s: length of "a minute".
        workers: number of workers that share the limits; updated by the limiter.
        clock: monotonic seconds.
        now: Unix seconds, for the UTC day.

    """

    def __init__(
        self,
        *,
        window_s: float,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.workers = workers
        self._window_s = window_s
        self._clock = clock
        self._now = now
        self._windows: OrderedDict[tuple[str, str], Window] = OrderedDict()

    def take(
        self, app: str, user: str, request_id: str, tokens: int, scopes: Sequence[Limits], requests: int = 1
    ) -> tuple[bool, tuple[Bucket, ...]]:
        """Grant a request in all scopes or in none; returns whether, and the limits with what remains of the shares.

        It counts as `requests` requests.
        """
        now = self._clock()
        granted, standing = True, []
        for (of, window), limits in zip(self._of(app, user), scopes, strict=True):
            use = window.use(now, self._window_s, DAY_S - self._now() % DAY_S)
            share = limits.share(self.workers)
            waits = self._waits(window, share, use, requests, tokens, now)
            granted = granted and not any(waits)
            standing.append((of, limits, share, use, waits))
        if granted:
            self.note(app, user, request_id, tokens, requests)
        result: list[Bucket] = []
        for of, limits, share, use, waits in standing:
            updated = use._replace(
                requests=use.requests + granted * requests,
                tokens=use.tokens + granted * tokens,
                day_tokens=use.day_tokens + granted * tokens,
                reset_s=self._window_s if granted else use.reset_s,
            )
            result += _with_limits(buckets(of, share, updated, waits), limits)
        return granted, tuple(result)

    def note(self, app: str, user: str, request_id: str, tokens: int, requests: int = 1) -> None:
        """Record a grant, by Redis or from the shares."""
        now = self._clock()
        for _, window in self._of(app, user):
            window.add(request_id, now, requests, tokens)
            window.day_tokens += tokens

    def close(self, app: str, user: str, request_id: str, reserved: int, used: int | None, age_s: float) -> None:
        """Settle (`used` tokens) or refund (None) what was granted `age_s` ago; must not be called twice."""
        now, day = self._clock(), int((self._now() - age_s) // DAY_S)
        for _, window in self._of(app, user):
            window.close(request_id, reserved, used, now)
            if day == window.day:
                window.day_tokens = max(0, window.day_tokens + (used or 0) - reserved)

    def _waits(
        self, window: Window, share: Limits, use: Use, requests: int, tokens: int, now: float
    ) -> tuple[float, ...]:
        waits = []
        for part, (limit, used, cost) in enumerate(zip(share, use[:3], (requests, tokens, tokens), strict=True)):
            if limit is None or used + cost <= limit:
                waits.append(0.0)
            elif part == 2:
                waits.append(use.day_reset_s)
            else:
                wait_s = window.wait_s(part, used + cost - limit, self._window_s - now)
                waits.append(min(wait_s, self._window_s))  # more than a share: it can only pass when Redis is back
        return tuple(waits)

    def _of(self, app: str, user: str) -> list[tuple[str, Window]]:
        """The windows of a request, without expired entries."""
        before = self._clock() - self._window_s
        day = int(self._now() // DAY_S)
        found = []
        for of, key in (("app", (app, "")), ("user", (app, user))):
            if of == "user" and not user:
                continue
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = Window()
                if len(self._windows) > MAX_SCOPES:
                    self._windows.popitem(last=False)
            self._windows.move_to_end(key)
            window.forget(before, day)
            found.append((of, window))
        return found


def _with_limits(of_share: list[Bucket], limits: Limits) -> list[Bucket]:
    """The same buckets with the whole limits instead of the shares."""
    whole = (limit for limit in limits if limit is not None)
    return [replace(bucket, limit=limit) for bucket, limit in zip(of_share, whole, strict=True)]
