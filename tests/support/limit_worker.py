"""A process that reserves and settles until it is killed: `python -m tests.support.limit_worker URL NAME HOLD_S`."""

import asyncio
import random
import sys
import time

from serving.config.schema import TierSpec
from serving.errors import RateLimited
from serving.limits.limiter import Limiter
from serving.limits.local_fallback import Shares
from serving.limits.redis_store import LimitStore
from serving.resilience.redis import GuardedRedis, open_redis

APP = "killed"
TIERS = {"tier": TierSpec(requests_per_minute=1_000_000)}


async def work(url: str, name: str, hold_s: float) -> None:
    """Run eight clients; each request ends in one of the three ways."""
    store = LimitStore(GuardedRedis(open_redis(url), timeout_s=0.25), window_s=60, hold_s=hold_s)
    shares = Shares(window_s=60, workers=1)
    limiter = Limiter(store=store, shares=shares, tiers=TIERS, worker=name)
    background = asyncio.create_task(limiter.run())
    dice = random.Random(name)

    async def client(number: int) -> None:
        while not background.done():
            request_id = f"{name}-{number}-{time.monotonic_ns()}"
            user = dice.choice([None, "alice", "bob"])
            try:
                reservation = await limiter.reserve(APP, user, "tier", 100, request_id)
            except RateLimited:
                continue
            await asyncio.sleep(dice.random() / 20)
            ending = dice.randrange(3)
            if ending == 0:
                await limiter.refund(reservation)
            else:
                await limiter.settle(reservation, 40 if ending == 1 else 150)

    sys.stdout.write("working\n")
    sys.stdout.flush()
    await asyncio.gather(*(client(number) for number in range(8)))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3])))
