"""The last minutes of a gateway worker: moments taken now and then, and how long its event loop stood still."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from serving.doctor.samples import Samples

TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class Moment:
    """What was so at `at_s` (monotonic). None: it could not be learned."""

    at_s: float
    counted: Samples
    cpu_used_s: float | None
    evicted: float | None
    queues: Mapping[str, float]
    restarts: Mapping[str, float]


class History:
    """Keeps the moments of `window_s`, one each `every_s`.

    Args:
        look: takes one.
        window_s: how far back.
        every_s: between two.
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
        """Watch until cancelled."""
        due_s = self._clock()
        while True:
            if self._clock() >= due_s:
                self._keep(await self._look())
                due_s = self._clock() + self._every_s
            slept_from_s = self._clock()
            await asyncio.sleep(TICK_S)
            self._lags.append((self._clock(), max(0.0, self._clock() - slept_from_s - TICK_S)))

    async def present(self) -> tuple[Moment, Moment]:
        """The moment that the window began with, and now; what the first did not know yet is as it was known first."""
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
        """The longest that the loop stood still in the window."""
        return max((lag_s for _, lag_s in self._lags), default=0.0)

    def _keep(self, moment: Moment) -> None:
        self._moments.append(moment)
        oldest_s = moment.at_s - self._window_s
        while len(self._moments) > 2 and self._moments[1].at_s <= oldest_s:
            self._moments.popleft()
        while self._lags and self._lags[0][0] < oldest_s:
            self._lags.popleft()
