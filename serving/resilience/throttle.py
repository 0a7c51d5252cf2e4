"""How often somebody may do a thing: a token bucket each, as a virtual schedule (GCRA, ITU-T I.371), in memory.

For what must cost next to nothing to refuse: it asks neither Redis nor SQL, and is one gateway worker's own. It does
not know what the names are.
"""

from collections import OrderedDict
from collections.abc import Callable

MAX_NAMES = 10_000  # remembered; whoever was seen longest ago is forgotten first


class Throttle:
    """Of one kind of thing.

    Args:
        clock: monotonic seconds.
        burst: how many at once.
        refill_s: then one in this time.

    """

    def __init__(self, clock: Callable[[], float], *, burst: int, refill_s: float) -> None:
        self._clock = clock
        self._burst_s = burst * refill_s
        self._refill_s = refill_s
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when a name will have its whole burst again

    def take(self, name: str) -> float:
        """Take one; seconds to wait when there is none, and 0 when it was taken."""
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
        """It was none after all."""
        if name in self._full_at:
            self._full_at[name] -= self._refill_s
