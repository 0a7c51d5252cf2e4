"""Graceful shutdown of a gateway worker: after SIGTERM no request begins, and all requests end within `drain_s`.

Every generation runs under a time limit; when the drain is over, all limits are set to now. This module does not know
how a generation ends then.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from serving.errors import ShuttingDown


class Drain:
    """The drain of one worker.

    Args:
        drain_s: seconds from the start of the drain until all running requests are ended.

    """

    def __init__(self, drain_s: float) -> None:
        self.has_begun = False
        self.is_over = False
        self._drain_s = drain_s
        self._limits: set[asyncio.Timeout] = set()

    def admit(self) -> None:
        """Raise ShuttingDown if the drain has begun."""
        if self.has_begun:
            raise ShuttingDown

    @contextmanager
    def ends(self, limit: asyncio.Timeout) -> Iterator[None]:
        """While in this context, `limit` expires at the end of the drain."""
        self._limits.add(limit)
        if self.is_over:
            limit.reschedule(asyncio.get_running_loop().time())
        try:
            yield
        finally:
            self._limits.discard(limit)

    def begin(self) -> None:
        """Start the drain: from now on no request begins."""
        if not self.has_begun:
            self.has_begun = True
            asyncio.get_running_loop().call_later(self._drain_s, self._end)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """While in this context, SIGTERM and SIGINT start the drain and then call the previous handler."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread receives signals
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def on_signal(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin)
            previous = before[signal.Signals(number)]
            if callable(previous):
                previous(number, frame)

        for number in before:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)

    def _end(self) -> None:
        self.is_over = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)
