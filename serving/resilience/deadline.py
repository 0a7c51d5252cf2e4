"""A timeout between two events of a stream that costs little on the path of a request."""

import asyncio
from types import TracebackType
from typing import Self


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
