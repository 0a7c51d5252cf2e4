"""The end of a gateway worker: from SIGTERM on nothing begins, and within `drain_s` everything ends.

Every generation runs under a time limit; when the drain is over, all of them are moved to now. It does not know how a
generation ends then.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from serving.errors import ShuttingDown


class Drain:
    """One worker's.

    Args:
        drain_s: from its begin to the end of what still runs.

    """

    def __init__(self, drain_s: float) -> None:
        self.has_begun = False
        self.is_over = False
        self._drain_s = drain_s
        self._limits: set[asyncio.Timeout] = set()

    def admit(self) -> None:
        """Raise ShuttingDown when nothing may begin."""
        if self.has_begun:
            raise ShuttingDown

    @contextmanager
    def ends(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Within it, `limit` runs out at the end of the drain."""
        self._limits.add(limit)
        if self.is_over:
            limit.reschedule(asyncio.get_running_loop().time())
        try:
            yield
        finally:
            self._limits.discard(limit)

    def begin(self) -> None:
        """Nothing begins from now on."""
        if not self.has_begun:
            self.has_begun = True
            asyncio.get_running_loop().call_later(self._drain_s, self._end)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within it, SIGTERM and SIGINT begin the drain, and then do what they did before."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread hears signals
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def heard(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin)
            earlier = before[signal.Signals(number)]
            if callable(earlier):
                earlier(number, frame)

        for number in before:
            signal.signal(number, heard)
        try:
            yield
        finally:
            for number, earlier in before.items():
                signal.signal(number, earlier)

    def _end(self) -> None:
        self.is_over = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)
