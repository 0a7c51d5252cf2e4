"""Limits where Redis serves: exact, true to the client, isolated, and every reservation accounted for."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.crc import key_slot

from serving.config.schema import DEFAULT_TIERS, TierSpec
from serving.errors import RateLimited, UnknownTier
from serving.limits.buckets import Bucket, Limits, duration, scopes
from serving.limits.limiter import Limiter, Reservation
from serving.limits.local_fallback import Shares
from serving.limits.redis_store import LimitStore
from serving.resilience.redis import GuardedRedis, open_redis
from tests.support import limit_worker
from tests.support.databases.redis_process import RedisProcess

PATIENT_S = 20.0  # for a call to Redis, so that a busy machine is not taken for a Redis that is away
LONG_S = 600.0  # a window that no test outlives
ROOT = Path(__file__).resolve().parents[3]
MakeLimiter = Callable[..., Limiter]


@pytest.fixture
async def redis(redis_process: RedisProcess) -> AsyncIterator[Redis]:
    """Return a client of it."""
    client = open_redis(redis_process.url)
    yield client
    await client.aclose()


@pytest.fixture
def make_limiter(redis: Redis) -> MakeLimiter:
    """Return a function that makes a limiter with a tier "tier" of the given limits, like a worker of its own."""

    def make(window_s: float = LONG_S, hold_s: float = LONG_S, **limits: int) -> Limiter:
        return Limiter(
            store=LimitStore(GuardedRedis(redis, timeout_s=PATIENT_S), window_s=window_s, hold_s=hold_s),
            shares=Shares(window_s=window_s, workers=1),
            tiers={**DEFAULT_TIERS, "tier": TierSpec(**limits)},
            worker="one",
        )

    return make


async def granted(limiter: Limiter, request_id: str, tokens: int = 0, user: str | None = None) -> bool:
    """Reserve for the application "app"; whether it was granted."""
    try:
        await limiter.reserve("app", user, "tier", tokens, request_id)
    except RateLimited:
        return False
    return True


async def refused(limiter: Limiter, request_id: str, tokens: int = 0, user: str | None = None) -> RateLimited:
    """Reserve for the application "app", which has to be refused."""
    with pytest.raises(RateLimited) as caught:
        await limiter.reserve("app", user, "tier", tokens, request_id)
    return caught.value


async def totals(redis: Redis, app: str = "app") -> dict[str, int]:
    """Return an application's totals."""
    guarded = GuardedRedis(redis, timeout_s=PATIENT_S)
    return await LimitStore(guarded, window_s=LONG_S, hold_s=LONG_S).totals(app)


def balanced(counted: dict[str, int]) -> bool:
    """Whether reserved = settled + refunded + open, of requests and of tokens."""
    return all(
        counted[f"reserved_{unit}"]
        == counted[f"settled_{unit}"] + counted[f"refunded_{unit}"] + counted[f"open_{unit}"]
        for unit in ("requests", "tokens")
    )


async def test_many_workers_together_grant_exactly_the_limit(make_limiter: MakeLimiter) -> None:
    """Of 300 requests at once through three workers, as many pass as the limit says: not one more, not one fewer."""
    workers = [make_limiter(requests_per_minute=50) for _ in range(3)]
    calls = [granted(worker, f"{number}-{index}") for number in range(100) for index, worker in enumerate(workers)]
    assert sum(await asyncio.gather(*calls)) == 50


async def test_the_first_requests_of_an_application_open_no_connection_each(
    make_limiter: MakeLimiter, redis: Redis
) -> None:
    """They would all wait for them, on a busy machine for too long, and each be granted a share as without Redis."""
    limiter = make_limiter(requests_per_minute=50)
    before = (await redis.info("stats"))["total_connections_received"]
    assert sum(await asyncio.gather(*[granted(limiter, str(number)) for number in range(60)])) == 50
    assert (await redis.info("stats"))["total_connections_received"] <= before + 1


async def test_many_workers_together_reserve_exactly_the_tokens(make_limiter: MakeLimiter, redis: Redis) -> None:
    """Requests of various sizes at once: what was granted fits, and what was refused did not."""
    workers = [make_limiter(tokens_per_minute=10_000, tokens_per_day=8_000) for _ in range(2)]
    sizes = [random.Random(seed).randrange(1, 900) for seed in range(100)]
    calls = [granted(workers[index % 2], str(index), tokens) for index, tokens in enumerate(sizes)]
    passed = await asyncio.gather(*calls)
    used = sum(tokens for tokens, was in zip(sizes, passed, strict=True) if was)
    assert used <= 8_000
    assert used + min(tokens for tokens, was in zip(sizes, passed, strict=True) if not was) > 8_000
    assert (await totals(redis))["reserved_tokens"] == used


async def test_a_refusal_burns_nothing_of_any_limit(make_limiter: MakeLimiter, redis: Redis) -> None:
    """A call that one limit refuses leaves all others, of the app and of the user, as they were."""
    limiter = make_limiter(requests_per_minute=5, tokens_per_minute=100, user_tokens_per_minute=50)
    first = await limiter.reserve("app", "bob", "tier", 40, "1")
    for number in range(20):
        error = await refused(limiter, f"no-{number}", 20, "bob")
        assert "user 'bob'" in error.message
    second = await limiter.reserve("app", "eve", "tier", 40, "2")
    assert first.headers["x-ratelimit-remaining-requests"] == "4"
    assert second.headers["x-ratelimit-remaining-requests"] == "3"
    assert (await totals(redis))["reserved_requests"] == 2
    assert await granted(limiter, "3", 10, "bob")


async def test_a_refusal_is_openais(make_limiter: MakeLimiter) -> None:
    """429 with the code, type and headers that OpenAI's clients read; the limit and whose it is are named."""
    limiter = make_limiter(requests_per_minute=1)
    await limiter.reserve("app", None, "tier", 0, "1")
    error = await refused(limiter, "2")
    body = orjson.loads(error.body())["error"]
    assert (error.status, body["code"], body["type"]) == (429, "rate_limit_exceeded", "requests")
    assert "application 'app': 1 requests per min" in body["message"]
    assert error.headers["x-ratelimit-limit-requests"] == "1"
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(error.headers["retry-after"]) <= LONG_S
    assert int(error.headers["retry-after-ms"]) <= LONG_S * 1000


@pytest.mark.parametrize("unit", ["requests", "tokens"])
@pytest.mark.parametrize("user", [None, "bob"])
async def test_a_client_that_waits_for_retry_after_passes(
    make_limiter: MakeLimiter, unit: str, user: str | None
) -> None:
    """After exactly the wait that a refusal names, the same request is granted; and the reset header is no less."""
    whose = "user_" if user else ""
    limiter = make_limiter(window_s=1.0, **{f"{whose}{unit}_per_minute": 30 if unit == "tokens" else 3})
    error = None
    for number in range(1000):  # a busy machine may let some leave the window before it is full
        try:
            await limiter.reserve("app", user, "tier", 10, str(number))
        except RateLimited as problem:
            error = problem
            break
    assert error is not None
    assert error.wait_s is not None
    assert 0 < error.wait_s <= 1.0
    await asyncio.sleep(error.wait_s)
    assert await granted(limiter, "again", 10, user)


async def test_after_the_reset_all_is_as_in_the_beginning(make_limiter: MakeLimiter) -> None:
    """`reset` is until nothing counts any more: then the whole limit remains."""
    limiter = make_limiter(window_s=0.3, requests_per_minute=10)
    first = await limiter.reserve("app", None, "tier", 0, "1")
    assert first.headers["x-ratelimit-remaining-requests"] == "9"
    assert first.headers["x-ratelimit-reset-requests"] == "300ms"
    await asyncio.sleep(0.3)
    later = await limiter.reserve("app", None, "tier", 0, "2")
    assert later.headers["x-ratelimit-remaining-requests"] == "9"


async def test_the_headers_tell_the_tightest_limit(make_limiter: MakeLimiter) -> None:
    """Of the app's and the user's limits, per minute and per day, the one with the least left; none where none is."""
    limiter = make_limiter(
        requests_per_minute=100, user_requests_per_minute=10, tokens_per_minute=90, tokens_per_day=80
    )
    headers = (await limiter.reserve("app", "bob", "tier", 30, "1")).headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("10", "9")
    assert (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"]) == ("80", "50")
    headers = (await limiter.reserve("app", None, "tier", 30, "2")).headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("100", "98")
    assert (await limiter.reserve("app", "bob", "admin", 30, "3")).headers == {}


async def test_a_request_larger_than_a_limit_learns_that_it_never_passes(make_limiter: MakeLimiter) -> None:
    """429 without a time, and OpenAI's clients are told not to try again; exactly the limit still passes."""
    limiter = make_limiter(tokens_per_minute=1000)
    error = await refused(limiter, "1", 1001)
    assert "exceeds a rate limit by itself" in error.message
    assert error.headers["x-should-retry"] == "false"
    assert "retry-after" not in error.headers
    assert await granted(limiter, "2", 1000)


async def test_an_unknown_tier_is_refused(make_limiter: MakeLimiter) -> None:
    """A key whose tier the configuration no longer has gets 403, not a limit of somebody else's."""
    with pytest.raises(UnknownTier, match="gold"):
        await make_limiter().reserve("app", None, "gold", 0, "1")


async def test_apps_and_users_do_not_touch_each_other(make_limiter: MakeLimiter) -> None:
    """A used-up limit is one app's, or one user's of one app, even where names try to look alike."""
    limiter = make_limiter(requests_per_minute=3, user_requests_per_minute=1)
    names = ["a", "a}", "a:b", "{a}", "a}:b:log", "আমি", "a b"]
    for app in names:
        for user in ("b", "b:log", ""):
            await limiter.reserve(app, user, "tier", 0, f"{app}-{user}")
            with pytest.raises(RateLimited, match="user"):
                await limiter.reserve(app, user, "tier", 0, f"{app}-{user}-2")
        with pytest.raises(RateLimited, match="application"):
            await limiter.reserve(app, None, "tier", 0, f"{app}-3")


async def test_all_keys_of_a_call_lie_in_one_slot(make_limiter: MakeLimiter, redis: Redis) -> None:
    """A Redis Cluster can run the scripts: an app's keys hash to one slot, whatever its name."""
    for app in ("a", "a}b", "{x}y", "আমি"):
        await redis.flushall()
        limiter = make_limiter(requests_per_minute=9, user_requests_per_minute=9)
        await limiter.settle(await limiter.reserve(app, "bob", "tier", 1, "1"), 1)
        await limiter.reserve(app, None, "tier", 1, "2")
        keys = [key.decode() for key in await redis.keys("bondhu:limits:{*")]
        assert len(keys) >= 5
        assert len({key_slot(key.encode()) for key in keys}) == 1


async def test_settling_gives_back_or_charges_the_difference(make_limiter: MakeLimiter, redis: Redis) -> None:
    """What was not used can be reserved again; what was used beyond the reservation cannot."""
    limiter = make_limiter(tokens_per_minute=100, tokens_per_day=100)
    first = await limiter.reserve("app", None, "tier", 60, "1")
    await limiter.settle(first, 10)
    assert not await granted(limiter, "2", 91)
    second = await limiter.reserve("app", None, "tier", 40, "3")
    await limiter.settle(second, 70)
    assert not await granted(limiter, "4", 21)
    assert await granted(limiter, "5", 20)
    counted = await totals(redis)
    assert balanced(counted)
    assert counted["settled_tokens"] == 80
    assert (counted["settled_requests"], counted["open_requests"]) == (2, 1)


async def test_a_refund_returns_the_request_too(make_limiter: MakeLimiter, redis: Redis) -> None:
    """A failed request counts in no limit, of the app or of its user."""
    limiter = make_limiter(requests_per_minute=1, tokens_per_day=50, user_requests_per_minute=1)
    for number in range(5):
        reservation = await limiter.reserve("app", "bob", "tier", 50, str(number))
        await limiter.refund(reservation)
    counted = await totals(redis)
    assert balanced(counted)
    assert (counted["refunded_requests"], counted["refunded_tokens"]) == (5, 250)


async def test_only_the_first_closing_counts(make_limiter: MakeLimiter, redis: Redis) -> None:
    """Settling twice, refunding what was settled, by the object or by its id, changes nothing more."""
    limiter, other = make_limiter(tokens_per_minute=100), make_limiter(tokens_per_minute=100)
    reservation = await limiter.reserve("app", None, "tier", 50, "1")
    await limiter.settle(reservation, 30)
    await limiter.settle(reservation, 5)
    await limiter.refund(reservation)
    await other.refund_lost("app", "1")
    counted = await totals(redis)
    assert (counted["settled_tokens"], counted["refunded_tokens"], counted["reserved_tokens"]) == (30, 20, 50)
    assert not await granted(other, "2", 71)
    assert await granted(other, "3", 70)


async def test_a_request_id_is_charged_once(make_limiter: MakeLimiter, redis: Redis) -> None:
    """Reserving again under an id that is open or closed takes nothing."""
    limiter, other = make_limiter(requests_per_minute=1), make_limiter(requests_per_minute=1)
    reservation = await limiter.reserve("app", None, "tier", 5, "1")
    await other.reserve("app", None, "tier", 5, "1")
    await limiter.settle(reservation, 5)
    await other.reserve("app", None, "tier", 5, "1")
    counted = await totals(redis)
    assert (counted["reserved_requests"], counted["open_requests"]) == (1, 0)


async def test_another_process_refunds_by_app_and_id(make_limiter: MakeLimiter, redis: Redis) -> None:
    """After a crash the id is enough, in the user's limits too."""
    await make_limiter(user_tokens_per_minute=100).reserve("app", "bob", "tier", 100, "1")
    other = make_limiter(user_tokens_per_minute=100)
    for request_id in ("1", "1", "unknown"):
        await other.refund_lost("app", request_id)
    counted = await totals(redis)
    assert balanced(counted)
    assert counted["refunded_requests"] == 1
    assert await granted(other, "2", 100, "bob")


async def test_what_nobody_closes_is_refunded_by_a_sweep(make_limiter: MakeLimiter, redis: Redis) -> None:
    """A worker that dies between reserving and settling leaves nothing reserved; who is not yet due stays."""
    dying = make_limiter(hold_s=0.2, tokens_per_day=100)
    await dying.reserve("app", "bob", "tier", 60, "1")
    living = make_limiter(tokens_per_day=100)
    kept = await living.reserve("app", None, "tier", 40, "2")
    await asyncio.sleep(0.25)
    assert await living.sweep() == 1
    assert await living.sweep() == 0
    await living.settle(kept, 40)
    counted = await totals(redis)
    assert balanced(counted)
    assert (counted["refunded_tokens"], counted["settled_tokens"], counted["open_requests"]) == (60, 40, 0)
    assert await granted(living, "3", 60)


async def test_a_request_that_outlives_the_window_pays_its_excess_at_its_end(make_limiter: MakeLimiter) -> None:
    """The reservation has left the window by then; only what it used beyond it counts, as tokens of now."""
    limiter = make_limiter(window_s=0.2, requests_per_minute=1, tokens_per_minute=100)
    reservation = await limiter.reserve("app", None, "tier", 50, "1")
    await asyncio.sleep(0.2)
    limiter = make_limiter(requests_per_minute=1, tokens_per_minute=100)
    await limiter.settle(reservation, 90)
    assert not await granted(limiter, "2", 100)


async def test_a_day_counts_for_itself(make_limiter: MakeLimiter, redis: Redis) -> None:
    """Yesterday's tokens do not count today, and closing what began yesterday leaves today's counter alone."""
    limiter = make_limiter(tokens_per_day=100)
    yesterdays = await limiter.reserve("app", None, "tier", 100, "1")
    error = await refused(limiter, "2", 1)
    assert "tokens per day" in error.message
    assert error.wait_s is not None
    assert 0 < error.wait_s <= 86400
    day = int(await redis.hget("bondhu:limits:{app}:sums", "day"))
    await redis.hset("bondhu:limits:{app}:sums", "day", str(day - 1))
    tokens, at, *rest = (await redis.hget("bondhu:limits:{app}:open", "1")).decode().split(" ")
    await redis.hset("bondhu:limits:{app}:open", "1", " ".join([tokens, str(int(at) - 86_400_000_000), *rest]))
    assert await granted(limiter, "3", 100)
    await limiter.refund(yesterdays)
    assert not await granted(limiter, "4", 1)
    assert balanced(await totals(redis))


async def test_an_evicted_log_is_a_fresh_start(make_limiter: MakeLimiter, redis: Redis) -> None:
    """Redis may evict a log or its sums: the limit then counts anew, it neither locks anybody out nor fails."""
    limiter = make_limiter(requests_per_minute=2)
    for evicted in ("log", "sums"):
        await redis.flushall()
        assert [await granted(limiter, f"{evicted}{number}") for number in range(3)] == [True, True, False]
        assert await redis.delete(f"bondhu:limits:{{app}}:{evicted}") == 1
        assert [await granted(limiter, f"{evicted}{number}") for number in range(5, 8)] == [True, True, False]


async def test_a_caller_that_leaves_while_it_reserves_leaves_nothing_reserved(
    make_limiter: MakeLimiter, redis: Redis
) -> None:
    """Whether Redis had granted it by then or not, the background gives it back."""
    limiter = make_limiter(requests_per_minute=100)
    await limiter.reserve("app", None, "tier", 1, "first")
    reserved, left = 1, 0
    for steps in range(1, 15):
        task = asyncio.create_task(limiter.reserve("app", None, "tier", 1, f"left-{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        left += isinstance(outcome, asyncio.CancelledError)
        reserved += not isinstance(outcome, BaseException)
    await asyncio.sleep(0.2)  # a command that had been sent before its caller left is done by now
    await limiter.tick()
    counted = await totals(redis)
    assert balanced(counted)
    assert counted["open_requests"] == reserved
    assert counted["refunded_requests"] > 0
    assert left >= counted["refunded_requests"]


async def test_the_memory_log_decides_as_redis_does(make_limiter: MakeLimiter) -> None:
    """The same calls to Redis and to one worker's own log are granted or refused alike, with the same left."""
    limits = {"requests_per_minute": 40, "tokens_per_minute": 2000, "tokens_per_day": 5000}
    limits["user_tokens_per_minute"] = 900
    limiter, shares = make_limiter(**limits), Shares(window_s=LONG_S, workers=1)
    dice, reserved = random.Random(7), list[tuple[Reservation, str]]()
    outcomes = set()
    for number in range(300):
        if reserved and dice.random() < 0.4:
            reservation, key = reserved.pop(dice.randrange(len(reserved)))
            used = dice.choice([None, 0, 30, 200])
            await (limiter.refund(reservation) if used is None else limiter.settle(reservation, used))
            shares.close("app", key, reservation.record.request_id, reservation.record.tokens, used, 0.0)
            continue
        user, tokens = dice.choice([None, "u", "v"]), dice.randrange(1, 120)
        of = scopes(TierSpec(**limits), has_user=user is not None)
        expected, standing = shares.take("app", user or "", str(number), tokens, of)
        try:
            reservation = await limiter.reserve("app", user, "tier", tokens, str(number))
        except RateLimited:
            assert not expected
        else:
            assert expected
            assert [left(bucket) for bucket in reservation.buckets] == [left(bucket) for bucket in standing]
            reserved.append((reservation, user or ""))
        outcomes.add(expected)
    assert outcomes == {True, False}


def left(bucket: Bucket) -> tuple[str, str, str, int, int]:
    """What a bucket says, but for the time."""
    return bucket.of, bucket.unit, bucket.period, bucket.limit, bucket.remaining


def start_worker(url: str, name: str, hold_s: float) -> "subprocess.Popen[bytes]":
    """Start a process that reserves and settles."""
    command = [sys.executable, "-m", "tests.support.limit_worker", url, name, str(hold_s)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


async def test_killed_workers_leave_no_reservation_behind(redis_process: RedisProcess, redis: Redis) -> None:
    """Workers are killed at random and Redis freezes now and then: in the end reserved = settled + refunded."""
    dice, hold_s = random.Random(11), 2.0
    for generation in range(2):
        names = [f"{generation}-{number}" for number in range(2)]
        workers = [start_worker(redis_process.url, name, hold_s) for name in names]
        for worker in workers:
            assert worker.stdout is not None
            assert await asyncio.to_thread(worker.stdout.readline) == b"working\n"
        for worker, is_frozen_before in zip(workers, (False, True), strict=True):
            await asyncio.sleep(0.5 + dice.random())
            if is_frozen_before:
                redis_process.send(signal.SIGSTOP)
                await asyncio.sleep(0.5)
                redis_process.send(signal.SIGCONT)
                await asyncio.sleep(2 * dice.random())
            assert balanced(await totals(redis, limit_worker.APP))
            worker.kill()
            worker.wait()
    store = LimitStore(GuardedRedis(redis, timeout_s=PATIENT_S), window_s=60, hold_s=hold_s)
    limiter = Limiter(store=store, shares=Shares(window_s=60, workers=1), tiers={}, worker="sweeper")
    deadline, swept = time.monotonic() + 60, 0
    while (counted := await totals(redis, limit_worker.APP))["open_requests"]:
        assert time.monotonic() < deadline, counted
        swept += await limiter.sweep()
        await asyncio.sleep(0.2)
    assert swept > 0
    assert balanced(counted)
    for unit in ("requests", "tokens"):
        assert counted[f"reserved_{unit}"] == counted[f"settled_{unit}"] + counted[f"refunded_{unit}"]
        assert min(counted[f"settled_{unit}"], counted[f"refunded_{unit}"]) > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (90, "1m30s"),
        (360, "6m0s"),
        (86399.2, "24h0m0s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    """Rounded up, so that who waits that long has waited long enough."""
    assert duration(seconds) == text


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 60), st.sampled_from(["keep", "less", "refund"])), max_size=60)
)
def test_no_window_ever_holds_more_than_the_limits(calls: list[tuple[float, int, str]]) -> None:
    """Whatever is given back, and whenever: in any 60 s what was granted and kept is within requests and tokens."""
    now, kept = 1000.0, []
    shares = Shares(window_s=60, workers=1, clock=lambda: now, now=lambda: now)
    limits = (Limits(5, 100, None),)
    for index, (pause_s, tokens, ending) in enumerate(calls):
        now += pause_s
        was, _ = shares.take("app", "", str(index), tokens, limits)
        recent = [size for at, size in kept if at > now - 60]
        fits = len(recent) + 1 <= 5 and sum(recent) + tokens <= 100
        assert was == fits
        if was:
            used = {"keep": tokens, "less": tokens // 2, "refund": None}[ending]
            shares.close("app", "", str(index), tokens, used, 0.0)
            if used is not None:
                kept.append((now, used))


async def test_a_request_counts_as_its_sequences(make_limiter: MakeLimiter, redis: Redis) -> None:
    """Four answers are four requests of the window, settled or refunded as four, in Redis and in the shares."""
    limiter = make_limiter(requests_per_minute=10)
    first = await limiter.reserve("app", None, "tier", 0, "1", 4)
    second = await limiter.reserve("app", None, "tier", 0, "2", 5)
    assert (await totals(redis))["reserved_requests"] == 9
    with pytest.raises(RateLimited):
        await limiter.reserve("app", None, "tier", 0, "3", 2)
    await limiter.refund(first)
    assert first.headers["x-ratelimit-remaining-requests"] == "6"
    await limiter.settle(second, 0)
    counted = await totals(redis)
    assert (counted["refunded_requests"], counted["settled_requests"]) == (4, 5)
    assert balanced(counted)
    assert await granted(limiter, "4")
    with pytest.raises(RateLimited, match="exceeds a rate limit by itself: it counts as 11 requests"):
        await limiter.reserve("app", None, "tier", 0, "5", 11)


def test_a_share_counts_sequences() -> None:
    """Without Redis as with it."""
    shares = Shares(window_s=LONG_S, workers=1)
    limits = (Limits(10, None, None),)
    assert shares.take("app", "", "1", 0, limits, 8)[0]
    assert not shares.take("app", "", "2", 0, limits, 3)[0]
    shares.close("app", "", "1", 0, None, 0)
    assert shares.take("app", "", "3", 0, limits, 10)[0]


async def test_a_reservation_of_an_earlier_version_can_be_closed(make_limiter: MakeLimiter, redis: Redis) -> None:
    """A record without its number of requests counts as one."""
    limiter = make_limiter(requests_per_minute=10)
    for user in (None, "bob"):
        reservation = await limiter.reserve("app", user, "tier", 7, f"of {user}")
        key = "bondhu:limits:{app}:open"
        stored = (await redis.hget(key, f"of {user}")).decode()
        await redis.hset(key, f"of {user}", stored.rpartition(" ")[0])
        await limiter.settle(reservation, 3)
    counted = await totals(redis)
    assert (counted["settled_requests"], counted["settled_tokens"]) == (2, 6)
    assert balanced(counted)
