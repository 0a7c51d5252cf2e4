"""Ends a gateway worker whose event loop stands still, whatever holds it up, and says where it stood.

Another worker's connection is accepted meanwhile, so nobody outside sees that one of several hangs; and a loop that is
held by code that keeps the interpreter (a regular expression, a parser) stops every thread of Python with it. So the
time is kept by faulthandler's own thread, which needs neither: each turn of the loop sets it anew, and when it runs
out the stacks are written and the process ends with status 1. uvicorn, or the supervisor, starts another.
"""

import asyncio
import faulthandler
import sys
from typing import TextIO


class Watchdog:
    """One worker's.

    Args:
        limit_s: how long the loop may stand still.
        output: an open file that the stacks are written to.

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
