"""Levels and their thresholds.

deploy/prometheus/alerts.yaml has the same numbers; a test compares them.
"""

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """In rising order; `WATCH` is still healthy, but close to `WARNING`."""

    HEALTHY = 0
    WATCH = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Threshold:
    """The lower bound of each level."""

    watch: float
    warning: float
    critical: float

    def level(self, value: float) -> Level:
        """Return the level of a value."""
        bounds = ((Level.CRITICAL, self.critical), (Level.WARNING, self.warning), (Level.WATCH, self.watch))
        return next((level for level, bound in bounds if value >= bound), Level.HEALTHY)


MEMORY_RATIO = Threshold(0.70, 0.75, 0.90)
CPU_RATIO = Threshold(0.60, 0.75, 0.90)  # over five minutes
DISK_RATIO = Threshold(0.75, 0.85, 0.95)
P95_S = Threshold(3, 5, 10)
ERROR_RATIO = Threshold(0.01, 0.02, 0.05)
RESTARTS = Threshold(1, 2, 4)  # of a process, in the window
QUEUE_GROWTH = Threshold(10, 50, 200)  # tasks added since the beginning of the window
EVICTIONS = Threshold(1, 100, 10_000)  # keys that Redis evicted in the window
REDIS_MEMORY_RATIO = Threshold(0.75, 0.85, 0.95)
CLOCK_S = Threshold(1, 5, 60)  # difference between two clocks
LOOP_LAG_S = Threshold(0.1, 0.25, 1)
SLOW_STATEMENT_S = 0.25
SLOW_STATEMENTS = 5  # in the window
REPEATS = 20  # of one statement in one request
POOL_RATIO = 0.9
MIN_REQUESTS = 20  # in the window; fewer are too few for ratios and quantiles
EXPIRES_S = (14 * 86_400.0, 7 * 86_400.0, 0.0)  # watch, warning, critical: time until a key or a certificate expires
BACKUP_AGE_S = Threshold(26 * 3600, 50 * 3600, 8 * 86_400)
