"""A circuit breaker: after a few failures in a row nobody waits for what is away (Nygard, Release It!, chapter 5).

Only whoever probes in the background closes it again, so that no client's request pays for finding out.
"""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Breaker:
    """Counts failures of one thing.

    Args:
        name: of the thing, for the log.
        failures: this many in a row open it. Calls that fail side by side count as one failure: a hiccup of the thing,
            or of this process, fails all that are under way.
        clock: monotonic seconds.

    """

    def __init__(self, name: str, failures: int = 3, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._most = failures
        self._clock = clock
        self._in_a_row = 0
        self._failed_at = float("-inf")
        self.is_open = False

    def succeeded(self) -> None:
        """It answered."""
        self._in_a_row = 0

    def failed(self, problem: BaseException, began: float) -> None:
        """It did not answer a call that began at that time of the clock."""
        if began < self._failed_at:
            return
        self._failed_at = self._clock()
        self._in_a_row += 1
        if not self.is_open and self._in_a_row >= self._most:
            self.is_open = True
            log.warning("%s is away (%s: %s)", self._name, type(problem).__name__, problem)

    def close(self) -> None:
        """It serves again."""
        self._in_a_row = 0
        if self.is_open:
            self.is_open = False
            log.warning("%s is back", self._name)
