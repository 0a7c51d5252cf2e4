"""A circuit breaker: after a few failures in a row nobody waits for what is away (Nygard, Release It!, chapter 5).

Only whoever probes in the background closes it again, so that no client's request pays for finding out.
"""

import logging

log = logging.getLogger(__name__)


class Breaker:
    """Counts failures of one thing.

    Args:
        name: of the thing, for the log.
        failures: this many in a row open it.

    """

    def __init__(self, name: str, failures: int = 3) -> None:
        self._name = name
        self._most = failures
        self._in_a_row = 0
        self.is_open = False

    def succeeded(self) -> None:
        """It answered."""
        self._in_a_row = 0

    def failed(self, problem: BaseException) -> None:
        """It did not."""
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
