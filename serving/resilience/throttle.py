"""Throttles actions by name: a token bucket for each, as a virtual schedule (GCRA, ITU-T I.371), in memory.

Refusals must be cheap, so it needs neither Redis nor SQL and only applies to one gateway worker. This module does not
know what the names are.
"""

from collections import OrderedDict
from collections.abc import Callable

MAX_NAMES = 10_000  # in memory; the least recently used is dropped first


class Throttle:
    """Throttles one kind of action.

    Args:
        clock: monotonic seconds.
        burst: actions at once.
        refill_s: time per further action, s.

    """

    def __init__(self, clock: Callable[[], float], *, burst: int, refill_s: float) -> None:
        self._clock = clock
        self._burst_s = burst * refill_s
        self._refill_s = refill_s
        self._full_at: OrderedDict[str, float] = OrderedDict()  # time at which the bucket of a name is full again

    def take(self, name: str) -> float:
        """Take one action; returns 0 if it is allowed, otherwise the seconds to wait."""
        now = self._clock()
        full_at = max(self._full_at.get(name, now), now) + self._refill_s
        wait_s = full_at - now - self._burst_s
        if wait_s > 0:
            return wait_s
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        while len(self._full_at) > MAX_NAMES:
            self._full_at.popitem(last=False)
        return 0.0

    def give_back(self, name: str) -> None:
        """Return an action that does not count."""
        if name in self._full_at:
            self._full_at[name] -= self._refill_s
