"""A circuit breaker: after a few failures in a row, requests fail fast (Nygard, Release It!, chapter 5).

Only a background probe closes it again, so that no client's request has to wait for the check.
"""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Breaker:
    """Counts failures of one dependency.

    Args:
        name: name of the dependency, for the log.
        failures: number of failures in a row that opens it. Concurrent calls that fail count as one failure, because
            one hiccup of the dependency, or of this process, fails all calls in flight.
        clock: monotonic seconds.

    """

    def __init__(self, name: str, failures: int = 3, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._max_failures = failures
        self._clock = clock
        self._in_a_row = 0
        self._failed_at = float("-inf")
        self.is_open = False

    def succeeded(self) -> None:
        """Note that a call succeeded."""
        self._in_a_row = 0

    def failed(self, problem: BaseException, began: float) -> None:
        """Note that a call that began at `began` (of the clock) failed."""
        if began < self._failed_at:
            return
        self._failed_at = self._clock()
        self._in_a_row += 1
        if not self.is_open and self._in_a_row >= self._max_failures:
            self.is_open = True
            log.warning("%s is unavailable (%s: %s)", self._name, type(problem).__name__, problem)

    def close(self) -> None:
        """Close the breaker: the dependency works again."""
        self._in_a_row = 0
        if self.is_open:
            self.is_open = False
            log.warning("%s is available again", self._name)
