"""Samples of the last minutes of a gateway worker, and how long its event loop was blocked."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from serving.doctor.samples import Samples

TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class Moment:
    """The measurements at `at_s` (monotonic); None: not available."""

    at_s: float
    counted: Samples
    cpu_used_s: float | None
    evicted: float | None
    queues: Mapping[str, float]
    restarts: Mapping[str, float]


class History:
    """Keeps the moments of the last `window_s`.

    Args:
        look: takes a moment.
        window_s: length of the history, s.
        every_s: time between two moments, s.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Moment]],
        *,
        window_s: float,
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._window_s = window_s
        self._every_s = every_s
        self._clock = clock
        self._moments: deque[Moment] = deque()
        self._lags: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Take moments until cancelled."""
        due_s = self._clock()
        while True:
            if self._clock() >= due_s:
                self._keep(await self._look())
                due_s = self._clock() + self._every_s
            slept_from_s = self._clock()
            await asyncio.sleep(TICK_S)
            self._lags.append((self._clock(), max(0.0, self._clock() - slept_from_s - TICK_S)))

    async def present(self) -> tuple[Moment, Moment]:
        """Return the first moment of the window and the current one.

        Queues and processes that appeared later have their first known value in the first moment.
        """
        now = await self._look()
        self._keep(now)
        first = self._moments[0]
        restarts: dict[str, float] = {}
        queues: dict[str, float] = {}
        for moment in reversed(self._moments):
            restarts |= moment.restarts
            queues |= moment.queues
        return replace(first, restarts=restarts, queues=queues), now

    @property
    def loop_lag_s(self) -> float:
        """The longest time in the window for which the event loop was blocked."""
        return max((lag_s for _, lag_s in self._lags), default=0.0)

    def _keep(self, moment: Moment) -> None:
        self._moments.append(moment)
        oldest_s = moment.at_s - self._window_s
        while len(self._moments) > 2 and self._moments[1].at_s <= oldest_s:
            self._moments.popleft()
        while self._lags and self._lags[0][0] < oldest_s:
            self._lags.popleft()
