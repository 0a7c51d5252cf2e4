"""Rate limits of applications and their end users: reserve before, settle after, refund what failed.

`Limiter` asks Redis (`serving.limits.redis_store`: exact over all workers and machines, one round trip), for at most
`timeout_s`. When Redis does not answer, the worker's share decides (`serving.limits.local_fallback`: the bound is
there), and what was granted or closed meanwhile is kept and told to Redis once it is back. `run` does that, in the
background: it announces this worker, probes, tells, and sweeps reservations that nobody closed. It does not know HTTP
or keys.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from serving.config.errors import suggest
from serving.config.schema import TierSpec
from serving.errors import UnknownTier
from serving.limits.buckets import Bucket, headers, refusal, refuse_impossible, scopes
from serving.limits.local_fallback import Shares
from serving.limits.redis_store import FORGET, KEEP_OPEN, REFUND, LimitStore, Record
from serving.resilience.breaker import Breaker
from serving.resilience.deadline import answer_within
from serving.resilience.redis import AWAY

log = logging.getLogger(__name__)

TICK_S = 1.0
SWEEP_S = 15.0
WORKER_GONE_S = 10.0  # a worker that was not seen for this long no longer has a share
ROUNDS = 5  # of telling, before Redis is trusted: each tells what was granted during the one before
AT_ONCE = 32  # calls to Redis; one takes well under a millisecond, and has a connection meanwhile
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Reservation:
    """What a request may use, until it is settled or refunded.

    `began` is the limiter's clock; `era` says what Redis knows: see LimitStore.close.
    """

    record: Record
    began: float
    era: str = ""
    buckets: tuple[Bucket, ...] = ()
    is_closed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The `x-ratelimit-*` headers of its response."""
        return headers(self.buckets)


class Limiter:
    """One gateway worker's limiter.

    Args:
        store: the limits in Redis.
        shares: the limits without it.
        tiers: what a key's tier allows.
        worker: this worker's name, unlike any other's.
        timeout_s: for one call to Redis.
        max_untold: how much is kept for a Redis that is away; beyond, the oldest is dropped.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        *,
        store: LimitStore,
        shares: Shares,
        tiers: Mapping[str, TierSpec],
        worker: str,
        timeout_s: float = 0.05,
        max_untold: int = 20_000,  # about 10 MB
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaker = Breaker("Redis, for limits,", clock=clock)
        self.dropped = 0  # of what Redis was to be told: the memory for it was full
        self._store = store
        self._shares = shares
        self._tiers = tiers
        self._worker = worker
        self._timeout_s = timeout_s
        self._max_untold = max_untold
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._clock = clock
        self._untold: OrderedDict[tuple[str, str], tuple[Reservation, int]] = OrderedDict()
        self._apps: set[str] = set()
        self._fewer_since: float | None = None
        self._swept_at = clock()

    def use(self, tiers: Mapping[str, TierSpec]) -> None:
        """From now on these tiers hold; what has been used counts on."""
        self._tiers = tiers

    def tier(self, name: str) -> TierSpec:
        """What the tier allows; raises UnknownTier."""
        spec = self._tiers.get(name)
        if spec is None:
            raise UnknownTier(f"The tier '{name}' of this key is not configured{suggest(name, self._tiers)}")
        return spec

    async def count(self, app: str, user: str | None, tier: str, request_id: str, requests: int = 1) -> dict[str, str]:
        """Take a request that has no tokens of its own; returns the `x-ratelimit-*` headers. Raises as `reserve`."""
        reservation = await self.reserve(app, user, tier, 0, request_id, requests)
        await self.settle(reservation, 0)
        return reservation.headers

    async def reserve(
        self, app: str, user: str | None, tier: str, tokens: int, request_id: str, requests: int = 1
    ) -> Reservation:
        """Take `requests` and `tokens` from every limit that applies, or nothing from any.

        Args:
            app: the application that the key belongs to.
            user: its end user, if the request names one.
            tier: the key's tier.
            tokens: the most that the request can use.
            request_id: unlike any other's.
            requests: how many it counts as.

        Raises:
            RateLimited: a limit refuses it.
            UnknownTier: the tier is not configured.

        """
        limits = scopes(self.tier(tier), has_user=user is not None)
        refuse_impossible(limits, tokens, requests, app=app, user=user)
        record = Record(app, _user_key(user), request_id, tokens, requests)
        reservation = Reservation(record, self._clock())
        if all(limit is None for scope in limits for limit in scope):
            reservation.is_closed = True  # nothing is taken, so nothing is given back
            return reservation
        asked = False
        if not self.breaker.is_open:
            try:
                if app not in self._apps:
                    await self._ask(self._store.add_apps, [app])
                    self._apps.add(app)
                asked = True
                taken = await self._ask(self._store.take, record, limits)
            except AWAY:
                pass  # whether it took them is not known; what follows holds either way
            except asyncio.CancelledError:
                self._tell_later(reservation, REFUND, FORGET)
                raise
            else:
                if not taken.granted:
                    raise refusal(taken.buckets, app=app, user=user)
                reservation.era, reservation.buckets = str(taken.era), taken.buckets
                self._shares.note(app, record.user, request_id, tokens, requests)
                return reservation
        self._apps.add(app)
        granted, reservation.buckets = self._shares.take(app, record.user, request_id, tokens, limits, requests)
        if not granted:
            if asked:
                self._tell_later(reservation, REFUND, FORGET)
            raise refusal(reservation.buckets, app=app, user=user)
        self._tell_later(reservation, KEEP_OPEN)
        return reservation

    async def settle(self, reservation: Reservation, tokens_used: int) -> None:
        """Charge what was used: less than reserved is given back, more is charged. Only the first closing counts."""
        await self._close(reservation, max(0, tokens_used))

    async def refund(self, reservation: Reservation) -> None:
        """Give back the request and its tokens. Only the first closing counts."""
        await self._close(reservation, REFUND)

    async def close_by_id(self, app: str, request_id: str, tokens_used: int | None) -> bool:
        """Settle (None: refund) what another process reserved; False when nothing of that id is open.

        Raises RedisError or OSError (also TimeoutError) when Redis is away.
        """
        record = await self._ask(self._store.find, app, request_id)
        if record is None:
            return False
        used = REFUND if tokens_used is None else max(0, tokens_used)
        return await self._ask(self._store.close, record, used, age_s=0, era=FORGET)

    async def sweep(self) -> int:
        """Refund every reservation past due, of all applications; return how many. Raises as `close_by_id`."""
        refunded = 0
        for app in await self._ask(self._store.apps):
            while overdue := await self._ask(self._store.overdue, app):
                for record in overdue:
                    refunded += await self._ask(self._store.close, record, REFUND, age_s=0, era=FORGET)
        return refunded

    async def run(self) -> None:
        """Do what the background has to do until cancelled."""
        is_warm = False
        while True:
            try:
                if not is_warm or self.breaker.is_open:
                    await self._warm()
                    is_warm = True
                await self.tick()
            except AWAY as problem:
                log.debug("limits: Redis does not answer: %s", problem)
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        """Announce this worker, tell Redis what it missed, and from then on trust it again; sweep now and then.

        Raises as `close_by_id`; the breaker then stays as it was, or opens.
        """
        self._count_workers(await self._ask(self._store.beat, self._worker, WORKER_GONE_S))
        if self._apps:
            await self._ask(self._store.add_apps, list(self._apps))
        for _ in range(ROUNDS):
            for reservation, used in list(self._untold.values()):
                await self._tell(reservation, used)
            if not self.breaker.is_open or not self._untold:
                break
        self.breaker.close()
        if self._clock() - self._swept_at >= SWEEP_S:
            self._swept_at = self._clock()
            await self.sweep()

    async def leave(self) -> None:
        """At the end: tell Redis what it can still be told, and that this worker is gone."""
        try:
            for reservation, used in list(self._untold.values()):
                await self._tell(reservation, used)
            await self._ask(self._store.leave, self._worker)
        except AWAY as problem:
            log.warning("limits: %d changes were not told to Redis: %s", len(self._untold), problem)

    async def _close(self, reservation: Reservation, used: int) -> None:
        if reservation.is_closed:
            return
        reservation.is_closed = True
        record, age_s = reservation.record, self._clock() - reservation.began
        kept = None if used == REFUND else used
        self._shares.close(record.app, record.user, record.request_id, record.tokens, kept, age_s)
        # First noted, then told: who is cancelled in between leaves it to the background.
        self._tell_later(reservation, used)
        if not self.breaker.is_open:
            try:
                await self._tell(reservation, used)
            except AWAY:
                log.debug("limits: closing %s is left for later", record.request_id)

    async def _tell(self, reservation: Reservation, used: int) -> None:
        record = reservation.record
        age_s = self._clock() - reservation.began
        await self._ask(self._store.close, record, used, age_s=age_s, era=reservation.era)
        key = (record.app, record.request_id)
        if key in self._untold and self._untold[key][1] == used:  # else it was closed meanwhile
            del self._untold[key]

    def _tell_later(self, reservation: Reservation, used: int, era: str | None = None) -> None:
        if era is not None:
            reservation.era = era
        self._untold[reservation.record.app, reservation.record.request_id] = (reservation, used)
        if len(self._untold) > self._max_untold:
            self._untold.popitem(last=False)
            self.dropped += 1

    def _count_workers(self, seen: int) -> None:
        """More at once; fewer only after a while: a Redis that restarted has not yet heard of all."""
        now = self._clock()
        if seen >= self._shares.workers:
            self._shares.workers, self._fewer_since = seen, None
        elif self._fewer_since is None:
            self._fewer_since = now
        elif now - self._fewer_since > WORKER_GONE_S:
            self._shares.workers, self._fewer_since = seen, None

    async def _warm(self) -> None:
        """Open the connections that a burst needs: to do so then would take longer than its calls may."""
        await asyncio.gather(*(self._ask(self._store.apps) for _ in range(AT_ONCE)))

    async def _ask(self, call: Callable[Given, Awaitable[Answer]], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        was_open = self.breaker.is_open
        async with self._slots:  # what a burst waits here is no fault of Redis's
            if self.breaker.is_open and not was_open:
                raise TimeoutError("found to be away meanwhile")
            began = self._clock()
            try:
                async with answer_within(self._timeout_s):
                    answer = await call(*args, **kwargs)
            except AWAY as problem:
                self.breaker.failed(problem, began)
                raise
            self.breaker.succeeded()
            return answer


def _user_key(user: str | None) -> str:
    """A name of bounded length for Redis's keys, which tells nobody who it is; "" for no user."""
    return "" if user is None else hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
