"""The open loop: requests are sent at times drawn beforehand, however many are still unanswered.

Arrivals are a Poisson process, like many independent people. Latency counts from the drawn time, so a short stall of
the server affects everybody who arrives during it; a closed loop would just send fewer requests ("coordinated
omission"). This module does not know what is sent.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.load.connection import Connection, Exchange

DRAIN_S = 30.0  # after the last arrival; what is unanswered then is given up


@dataclass
class Answered:
    """What came of the requests."""

    exchanges: list[Exchange] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)  # how much after its instant each was sent
    broken: list[str] = field(default_factory=list)


def instants(rate_per_s: float, duration_s: float, dice: random.Random) -> list[float]:
    """Draw the arrivals of `duration_s` seconds, in seconds from its beginning."""
    found, at = list[float](), dice.expovariate(rate_per_s)
    while at < duration_s:
        found.append(at)
        at += dice.expovariate(rate_per_s)
    return found


async def put_on(
    url: str, head: bytes, bodies: Iterator[bytes], due_at: list[float], connections: list[Connection]
) -> Answered:
    """Send a request at each of `due_at` (monotonic seconds), on `connections` and, when all are busy, further ones."""
    results, idle = Answered(), connections

    async def one(due: float, body: bytes) -> None:
        connection = idle.pop() if idle else await Connection.open(url)
        results.late_s.append(time.monotonic() - due)
        try:
            results.exchanges.append(await connection.post(head, body, due))
            idle.append(connection)
        except ConnectionError as problem:
            results.broken.append(type(problem).__name__)
        except asyncio.CancelledError:
            results.broken.append(f"unanswered after {DRAIN_S:g} s")
            connection.close()

    tasks = []
    for due in due_at:
        await asyncio.sleep(due - time.monotonic())
        tasks.append(asyncio.create_task(one(due, next(bodies))))
    if tasks:
        _, unanswered = await asyncio.wait(tasks, timeout=DRAIN_S)
        for task in unanswered:
            task.cancel()
        await asyncio.gather(*unanswered)
    for connection in idle:
        connection.close()
    return results
