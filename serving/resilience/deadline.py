"""A timeout for socket I/O that expires only after the event loop has polled its sockets once more.

The loop of a saturated worker is late: it sees the expired timer and the response, which arrived long ago, in the same
pass. `asyncio.timeout` alone would then report a fast server as unavailable.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LOOK_S = 0.001  # such a timer fires in a later pass of the loop, which polls its sockets in between


@asynccontextmanager
async def answer_within(timeout_s: float) -> AsyncIterator[None]:
    """Raise TimeoutError if the block does not finish in time."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(timeout_s, lambda: limit.reschedule(loop.time() + LOOK_S))
        try:
            yield
        finally:
            timer.cancel()
