"""Counts how one gateway worker's requests to engines go: by configuration, for canaries; by model, for idle ones."""

import secrets
from collections.abc import Callable

from serving.engines.wire import GatewayReport, Traffic


class TrafficCounter:
    """Counts since the worker's start.

    Args:
        clock: monotonic seconds.

    Attributes:
        has_news: whether anything was counted that nobody was told.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._worker = secrets.token_hex(8)
        self._traffic: dict[str, Traffic] = {}
        self._used_at: dict[str, float] = {}
        self.has_news = False

    def use(self, model: str) -> None:
        """Note that a request names a model, whether or not an engine is ready for it."""
        self._used_at[model] = self._clock()
        self.has_news = True

    def count(self, fingerprint: str, *, failed: bool, ttft_s: float | None) -> None:
        """Count a request that an engine has answered or failed; `ttft_s` is None if no first token was timed."""
        known = self._traffic.setdefault(fingerprint, {"requests": 0, "failed": 0, "streams": 0, "ttft_s": 0.0})
        known["requests"] += 1
        known["failed"] += failed
        if ttft_s is not None:
            known["streams"] += 1
            known["ttft_s"] += ttft_s
        self.has_news = True

    def report(self) -> GatewayReport:
        """What the directory is told."""
        now = self._clock()
        used = {model: now - used_at for model, used_at in self._used_at.items()}
        return {"worker": self._worker, "traffic": self._traffic, "used": used}
