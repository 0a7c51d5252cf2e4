"""How long to wait for what a socket brings: until time is over, and the event loop has looked for it since.

A saturated worker's loop is late: it meets the end of the time and the answer, which has long been there, in one pass,
and `asyncio.timeout` alone would take a server that answered at once for one that is away. It does not know servers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LOOK_S = 0.001  # a timer as short as this runs in a later pass of the loop, which has polled its sockets in between


@asynccontextmanager
async def answer_within(timeout_s: float) -> AsyncIterator[None]:
    """Raise TimeoutError when what is within is not done in time."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(timeout_s, lambda: limit.reschedule(loop.time() + LOOK_S))
        try:
            yield
        finally:
            timer.cancel()
