"""Limits while Redis is killed, frozen, full or empty: nobody hangs, the overshoot has its bound, and all heals."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from serving.config.schema import TierSpec
from serving.errors import RateLimited
from serving.limits.buckets import Limits
from serving.limits.limiter import WORKER_GONE_S, Limiter, Reservation
from serving.limits.local_fallback import Shares
from serving.limits.redis_store import LimitStore
from serving.resilience.breaker import Breaker
from serving.resilience.redis import AWAY, GuardedRedis, open_redis
from tests.support.databases.redis_process import RedisProcess

LIMIT = 100
LONG_S = 600.0  # a window that no test outlives
DEADLINE_S = 60.0
TIERS = {"tier": TierSpec(requests_per_minute=LIMIT)}
MakeLimiter = Callable[..., Limiter]


@dataclass(frozen=True)
class Outage:
    """How Redis goes away and how it comes back."""

    kind: str
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]


@pytest.fixture
async def make_limiter(redis_process: RedisProcess) -> AsyncIterator[MakeLimiter]:
    """Return a function that makes a worker's limiter, with a connection of its own."""
    clients = []

    def make(name: str, timeout_s: float = 0.5, **options: object) -> Limiter:
        clients.append(open_redis(redis_process.url))
        redis = GuardedRedis(clients[-1], timeout_s=timeout_s)
        arguments = {"tiers": TIERS, "shares": Shares(window_s=LONG_S, workers=1)} | options
        return Limiter(store=LimitStore(redis, window_s=LONG_S, hold_s=LONG_S), worker=name, **arguments)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture(params=["killed", "frozen", "full"])
def outage(request: pytest.FixtureRequest, redis_process: RedisProcess) -> Outage:
    """Return each way for Redis to be away; killed, it comes back empty."""

    async def limit_memory(size: str) -> None:
        client = open_redis(redis_process.url)
        await client.config_set("maxmemory", size)
        await client.aclose()

    async def call(action: Callable[..., None], *arguments: object) -> None:
        await asyncio.to_thread(action, *arguments)

    ways = {
        "killed": (lambda: call(redis_process.kill), lambda: call(redis_process.start)),
        "frozen": (lambda: call(redis_process.send, signal.SIGSTOP), lambda: call(redis_process.send, signal.SIGCONT)),
        "full": (lambda: limit_memory("1"), lambda: limit_memory("0")),
    }
    return Outage(request.param, *ways[request.param])


async def hammer(limiter: Limiter, prefix: str, calls: int = 2 * LIMIT) -> list[Reservation]:
    """Reserve many, sixteen at once; those that were granted. Nobody may hang."""
    at_once = asyncio.Semaphore(16)

    async def reserve(request_id: str) -> Reservation:
        async with at_once:
            return await limiter.reserve("app", None, "tier", 10, request_id)

    async with asyncio.timeout(DEADLINE_S):
        calling = (reserve(f"{prefix}-{number}") for number in range(calls))
        outcomes = await asyncio.gather(*calling, return_exceptions=True)
    assert all(isinstance(outcome, Reservation | RateLimited) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Reservation)]


async def heal(*limiters: Limiter) -> None:
    """Do what `run` does until every limiter trusts Redis again."""
    deadline = time.monotonic() + DEADLINE_S
    for limiter in limiters:
        while True:
            assert time.monotonic() < deadline, "it does not heal"
            try:
                await limiter.tick()
                break
            except AWAY:
                await asyncio.sleep(0.05)
        assert not limiter.breaker.is_open


async def totals(redis_process: RedisProcess) -> dict[str, int]:
    """Return the application's totals."""
    client = open_redis(redis_process.url)
    counted = await LimitStore(GuardedRedis(client, timeout_s=5.0), window_s=LONG_S, hold_s=LONG_S).totals("app")
    await client.aclose()
    return counted


@pytest.mark.parametrize(("one_before", "two_before"), [(100, 0), (60, 0), (50, 50), (0, 0)])
async def test_an_outage_lets_through_no_more_than_the_bound(
    make_limiter: MakeLimiter, redis_process: RedisProcess, outage: Outage, one_before: int, two_before: int
) -> None:
    """Two workers: each grants what its share leaves; together at most limit x (2 - 1/2), and after healing none more.

    An empty Redis has forgotten what it had granted: then at most twice the limit.
    """
    one, two = make_limiter("one"), make_limiter("two")
    for limiter in (one, two, one):
        await heal(limiter)
    before = await hammer(one, "b1", one_before) + await hammer(two, "b2", two_before)
    assert len(before) == one_before + two_before

    await outage.begin()
    meanwhile = await hammer(one, "m1"), await hammer(two, "m2")
    shares = [max(0, 50 - one_before), max(0, 50 - two_before)]
    if outage.kind == "full":  # it still refuses by itself what is used up
        assert all(len(granted) <= share for granted, share in zip(meanwhile, shares, strict=True))
    else:
        assert [len(granted) for granted in meanwhile] == shares
    assert len(before) + sum(map(len, meanwhile)) <= LIMIT * (2 - 1 / 2)
    for reservation in meanwhile[1][::2]:
        await two.settle(reservation, 25)

    await outage.end()
    await heal(one, two)
    known = await totals(redis_process)
    patient = make_limiter("three", timeout_s=DEADLINE_S)  # a busy machine is no second outage
    after = await hammer(patient, "a")
    assert len(after) == max(0, LIMIT - known["reserved_requests"] + known["refunded_requests"])
    assert len(before) + sum(map(len, meanwhile)) + len(after) <= 2 * LIMIT

    for reservation in [*before, *meanwhile[0], *meanwhile[1], *after]:
        await patient.settle(reservation, 5)
    counted = await totals(redis_process)
    granted = len(before) + sum(map(len, meanwhile)) + len(after)
    assert counted["open_requests"] == 0
    assert counted["settled_requests"] == granted
    for unit in ("requests", "tokens"):
        assert counted[f"reserved_{unit}"] == counted[f"settled_{unit}"] + counted[f"refunded_{unit}"]
    assert counted["settled_tokens"] == 5 * granted + 20 * len(meanwhile[1][::2])


async def test_one_worker_alone_never_exceeds_a_limit(make_limiter: MakeLimiter, outage: Outage) -> None:
    """It remembers what it granted before: while Redis is away it grants what is left of the limit, not more."""
    limiter = make_limiter("one")
    await limiter.tick()
    before = await hammer(limiter, "b", 70)
    await limiter.refund(before[0])
    await outage.begin()
    assert len(await hammer(limiter, "m")) == LIMIT - 69


async def test_refusals_by_share_are_counted_like_any_other(
    make_limiter: MakeLimiter, redis_process: RedisProcess
) -> None:
    """429 with a time to wait and the headers; the limit that is named is the whole one."""
    limiter = make_limiter("one", shares=Shares(window_s=LONG_S, workers=2))
    redis_process.kill()
    granted = await hammer(limiter, "m")
    assert len(granted) == LIMIT // 2
    with pytest.raises(RateLimited) as caught:
        await limiter.reserve("app", None, "tier", 10, "no")
    assert caught.value.headers["x-ratelimit-limit-requests"] == str(LIMIT)
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(caught.value.headers["retry-after"]) <= LONG_S


async def test_once_it_is_known_nobody_waits_for_redis(make_limiter: MakeLimiter, redis_process: RedisProcess) -> None:
    """With the breaker open a frozen Redis is not asked: with hours of patience, the calls still come back."""
    limiter = make_limiter("one", timeout_s=10_000.0)
    redis_process.send(signal.SIGSTOP)
    for _ in range(3):
        limiter.breaker.failed(TimeoutError(), began=float("inf"))
    async with asyncio.timeout(DEADLINE_S):
        for number in range(10):
            await limiter.settle(await limiter.reserve("app", None, "tier", 10, str(number)), 5)
    redis_process.send(signal.SIGCONT)
    await limiter.tick()
    assert (await totals(redis_process))["settled_tokens"] == 50


async def test_what_a_dead_worker_reserved_is_refunded_once_redis_is_back(
    make_limiter: MakeLimiter, redis_process: RedisProcess
) -> None:
    """Who finds its request while Redis does not answer refunds it later, and not only when it is overdue."""
    await make_limiter("dead").reserve("app", "bob", "tier", 60, "1")
    heir = make_limiter("heir", timeout_s=0.05)
    redis_process.send(signal.SIGSTOP)
    await heir.refund_lost("app", "1")
    redis_process.send(signal.SIGCONT)
    assert (await totals(redis_process))["open_requests"] == 1
    await heal(heir)
    counted = await totals(redis_process)
    assert (counted["open_requests"], counted["refunded_requests"]) == (0, 1)


async def test_a_loop_that_is_late_is_no_redis_that_is_away(
    make_limiter: MakeLimiter, redis_process: RedisProcess
) -> None:
    """An answer that came in time counts, though this process was too busy to look for it until time was up."""
    limiter = make_limiter("one", timeout_s=0.1)
    await limiter.reserve("app", None, "tier", 0, "early")
    redis_process.send(signal.SIGSTOP)
    late = asyncio.create_task(limiter.reserve("app", None, "tier", 0, "late"))
    await asyncio.sleep(0.02)  # it is on its way
    redis_process.send(signal.SIGCONT)
    time.sleep(0.3)  # noqa: ASYNC251 the loop is late: that is the point
    assert (await late).era, "granted by Redis"


async def test_a_frozen_redis_holds_nobody_up_and_heals_in_the_background(
    make_limiter: MakeLimiter, redis_process: RedisProcess
) -> None:
    """Every call ends though Redis answers none; `run` finds it back without any request's help."""
    limiter = make_limiter("one", timeout_s=0.05)
    background = asyncio.create_task(limiter.run())
    redis_process.send(signal.SIGSTOP)
    reservations = await hammer(limiter, "m", 50)
    assert len(reservations) == 50
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*map(limiter.refund, reservations))
    assert limiter.breaker.is_open
    redis_process.send(signal.SIGCONT)
    async with asyncio.timeout(DEADLINE_S):
        while limiter.breaker.is_open:  # noqa: ASYNC110 there is nothing to wait on: that is the point
            await asyncio.sleep(0.05)
    counted = await totals(redis_process)
    assert counted["open_requests"] == counted["settled_requests"] == 0
    assert counted["reserved_requests"] == counted["refunded_requests"]
    background.cancel()


async def test_a_restart_that_nobody_noticed_loses_no_charge(
    make_limiter: MakeLimiter, redis_process: RedisProcess
) -> None:
    """What is settled in a Redis that came back empty in between is charged there, in full."""
    limiter = make_limiter("one")
    reservation = await limiter.reserve("app", "bob", "tier", 10, "1")
    redis_process.kill()
    redis_process.start()
    await limiter.settle(reservation, 7)
    await limiter.tick()
    counted = await totals(redis_process)
    assert (counted["reserved_tokens"], counted["settled_tokens"], counted["refunded_tokens"]) == (10, 7, 3)


async def test_what_waits_for_redis_is_bounded(make_limiter: MakeLimiter, redis_process: RedisProcess) -> None:
    """A long outage does not fill the memory: the oldest is dropped, and counted."""
    limiter = make_limiter("one", max_pending=5)
    redis_process.kill()
    reservations = await hammer(limiter, "m", 20)
    for reservation in reservations:
        await limiter.settle(reservation, 10)
    redis_process.start()
    await heal(limiter)
    assert limiter.dropped >= 15
    assert (await totals(redis_process))["settled_requests"] == 5


async def test_a_worker_that_leaves_gives_its_share_to_the_others(make_limiter: MakeLimiter) -> None:
    """At once it counts more workers; fewer only after a while, lest a Redis that has just restarted mislead it."""
    now = 0.0
    shares = Shares(window_s=LONG_S, workers=1)
    one, two = make_limiter("one", shares=shares, clock=lambda: now), make_limiter("two")
    await two.tick()
    await one.tick()
    assert shares.workers == 2
    await two.leave()
    await one.tick()
    assert shares.workers == 2
    now = WORKER_GONE_S + 1
    await one.tick()
    assert shares.workers == 1


def test_a_share_is_part_of_the_limit_and_never_nothing() -> None:
    """All shares together are at most the limit, unless there are more workers than it allows."""
    for workers in range(1, 9):
        share = Limits(100, 1000, None).share(workers)
        assert share.requests is not None
        assert share.requests * workers <= 100
        assert share.day_tokens is None
    assert Limits(3, None, None).share(8) == Limits(1, None, None)


def test_a_breaker_opens_after_failures_in_a_row_only() -> None:
    """A success in between starts the count anew; closing it is for the prober."""
    breaker = Breaker("it", failures=3, clock=lambda: 0.0)
    for is_success in (False, False, True, False, False):
        breaker.succeeded() if is_success else breaker.failed(TimeoutError(), 0.0)
        assert not breaker.is_open
    breaker.failed(TimeoutError(), 0.0)
    assert breaker.is_open
    breaker.succeeded()
    assert breaker.is_open
    breaker.close()
    assert not breaker.is_open


def test_calls_that_fail_side_by_side_are_one_failure() -> None:
    """One hiccup with many calls under way does not open it; calls that began after it and fail too, do."""
    now = 0.0
    breaker = Breaker("it", failures=2, clock=lambda: now)
    now = 1.0
    for _ in range(10):
        breaker.failed(TimeoutError(), began=0.5)
    assert not breaker.is_open
    now = 2.0
    breaker.failed(TimeoutError(), began=1.5)
    assert breaker.is_open
