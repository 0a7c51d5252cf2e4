"""Ends a gateway worker whose event loop hangs, and writes the stack traces.

Other workers still accept connections, so a health check does not notice that one of several hangs. Code that holds the
interpreter lock (a regular expression, a parser) also stops all other Python threads. So the timeout is kept by
faulthandler's thread, which needs neither: the loop resets it regularly, and if it expires, the stacks are written and
the process exits with status 1. uvicorn, or the supervisor, starts a new one.
"""

import asyncio
import faulthandler
import sys
from typing import TextIO


class Watchdog:
    """The watchdog of one worker.

    Args:
        limit_s: how long the loop may hang.
        output: open file for the stack traces.

    """

    def __init__(self, limit_s: float, output: TextIO = sys.__stderr__ or sys.stderr) -> None:
        self._limit_s = limit_s
        self._output = output

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                faulthandler.dump_traceback_later(self._limit_s, exit=True, file=self._output)
                await asyncio.sleep(self._limit_s / 4)
        finally:
            faulthandler.cancel_dump_traceback_later()
