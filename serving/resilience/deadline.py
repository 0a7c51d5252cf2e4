"""Timeouts that cost little on the request path.

`answer_within` is for socket I/O: it expires only after the event loop has polled its sockets once more. The loop of a
saturated worker is late: it sees the expired timer and the response, which arrived long ago, in the same pass.
`asyncio.timeout` alone would then report a fast server as unavailable. `Stall` is for streams.
"""

import asyncio
from types import TracebackType
from typing import Self

LOOK_S = 0.001  # such a timer fires in a later pass of the loop, which polls its sockets in between


class answer_within:  # noqa: N801  # used like asyncio.timeout
    """Raise TimeoutError if the block does not finish in time."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """Start the timer."""
        self._loop = asyncio.get_running_loop()
        await self._limit.__aenter__()
        self._timer = self._loop.call_later(self._timeout_s, self._look)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it; raises TimeoutError if it has expired."""
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _look(self) -> None:
        self._limit.reschedule(self._loop.time() + LOOK_S)


class Stall:
    """Ends `limit`, a block of `asyncio.timeout`, when `moves` was not called for `timeout_s` (None: never).

    Rescheduling `limit` for every token of a stream would cost more than forwarding it.
    """

    def __init__(self, limit: asyncio.Timeout, timeout_s: float | None) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._moved_at: float | None = None  # None: it does not count now
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Wait for the first call of `moves`."""
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()

    def moves(self) -> None:
        """Note that it moves; the time counts from now."""
        if self._timeout_s is not None:
            self._moved_at = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout_s, self._look, self._timeout_s)

    def rests(self) -> None:
        """Count no time until the next call of `moves`."""
        self._moved_at = None

    def _look(self, timeout_s: float) -> None:
        now = self._loop.time()
        rest_s = timeout_s if self._moved_at is None else self._moved_at + timeout_s - now
        if rest_s > 0:
            self._timer = self._loop.call_later(rest_s, self._look, timeout_s)
        else:
            self._limit.reschedule(now)
