"""Rate limits of applications and their end users: reserve before a request, settle after it, refund on failure.

`Limiter` calls Redis (`serving.limits.redis_store`: exact over all workers and machines, one round trip). While it is
away, the worker's local share decides (`serving.limits.local_fallback` states the error bound), and changes are
queued and sent to Redis later. `run` works in the background: it registers this worker, probes Redis, sends queued
changes, and sweeps reservations that were never closed. This module does not know HTTP or API keys.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serving.config.errors import suggest
from serving.config.schema import TierSpec
from serving.errors import UnknownTier
from serving.limits.buckets import Bucket, headers, refusal, refuse_impossible, scopes
from serving.limits.local_fallback import Shares
from serving.limits.redis_store import FORGET, KEEP_OPEN, REFUND, LimitStore, Record
from serving.resilience.redis import AWAY

log = logging.getLogger(__name__)

TICK_S = 1.0
SWEEP_S = 15.0
WORKER_GONE_S = 10.0  # a worker that was not seen for this long loses its share
ROUNDS = 5  # of sending queued changes before Redis is used again: each sends what was granted during the last one


@dataclass(slots=True)
class Reservation:
    """What a request may use, until it is settled or refunded.

    `began` is a time of the limiter's clock; for `era` see LimitStore.close.
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
    """The rate limiter of one gateway worker.

    Args:
        store: the limits in Redis.
        shares: the local fallback.
        tiers: limits by tier.
        worker: unique name of this worker.
        max_pending: maximum changes queued while Redis is unavailable; above that, the oldest is dropped.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        *,
        store: LimitStore,
        shares: Shares,
        tiers: Mapping[str, TierSpec],
        worker: str,
        max_pending: int = 20_000,  # about 10 MB
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaker = store.redis.breaker
        self.dropped = 0  # queued changes that were dropped because the queue was full
        self._store = store
        self._shares = shares
        self._tiers = tiers
        self._worker = worker
        self._max_pending = max_pending
        self._clock = clock
        self._pending: OrderedDict[tuple[str, str], tuple[Reservation, int]] = OrderedDict()
        self._lost: OrderedDict[tuple[str, str], None] = OrderedDict()  # requests of dead workers, to be refunded
        self._apps: set[str] = set()
        self._fewer_since: float | None = None
        self._swept_at = clock()

    def reload(self, tiers: Mapping[str, TierSpec]) -> None:
        """Replace the tiers; what has been used still counts."""
        self._tiers = tiers

    def tier(self, name: str) -> TierSpec:
        """The limits of a tier; raises UnknownTier."""
        spec = self._tiers.get(name)
        if spec is None:
            raise UnknownTier(f"The tier '{name}' of this API key is not configured{suggest(name, self._tiers)}")
        return spec

    async def count(self, app: str, user: str | None, tier: str, request_id: str, requests: int = 1) -> dict[str, str]:
        """Count a request without tokens; returns the `x-ratelimit-*` headers and raises like `reserve`."""
        reservation = await self.reserve(app, user, tier, 0, request_id, requests)
        await self.settle(reservation, 0)
        return reservation.headers

    async def reserve(
        self, app: str, user: str | None, tier: str, tokens: int, request_id: str, requests: int = 1
    ) -> Reservation:
        """Reserve `requests` and `tokens` in all applicable limits, or in none.

        Args:
            app: the application that the key belongs to.
            user: its end user, if the request names one.
            tier: the key's tier.
            tokens: the maximum that the request can use.
            request_id: a unique id.
            requests: how many requests it counts as.

        Raises:
            RateLimited: a limit refuses it.
            UnknownTier: the tier is not configured.

        """
        limits = scopes(self.tier(tier), has_user=user is not None)
        refuse_impossible(limits, tokens, requests, app=app, user=user)
        record = Record(app, _user_key(user), request_id, tokens, requests)
        reservation = Reservation(record, self._clock())
        if all(limit is None for scope in limits for limit in scope):
            reservation.is_closed = True  # nothing was reserved, so nothing is refunded
            return reservation
        tried_redis = False
        if not self.breaker.is_open:
            try:
                if app not in self._apps:
                    await self._store.add_apps([app])
                    self._apps.add(app)
                tried_redis = True
                grant = await self._store.take(record, limits)
            except AWAY:
                pass  # Redis may or may not have reserved; what follows is correct either way
            except asyncio.CancelledError:
                self._queue(reservation, REFUND, FORGET)
                raise
            else:
                if not grant.granted:
                    raise refusal(grant.buckets, app=app, user=user)
                reservation.era, reservation.buckets = str(grant.era), grant.buckets
                self._shares.note(app, record.user, request_id, tokens, requests)
                return reservation
        self._apps.add(app)
        granted, reservation.buckets = self._shares.take(app, record.user, request_id, tokens, limits, requests)
        if not granted:
            if tried_redis:
                self._queue(reservation, REFUND, FORGET)
            raise refusal(reservation.buckets, app=app, user=user)
        self._queue(reservation, KEEP_OPEN)
        return reservation

    async def settle(self, reservation: Reservation, tokens_used: int) -> None:
        """Charge the tokens used: less than reserved is refunded, more is charged. Only the first close counts."""
        await self._close(reservation, max(0, tokens_used))

    async def refund(self, reservation: Reservation) -> None:
        """Refund the request and its tokens. Only the first close counts."""
        await self._close(reservation, REFUND)

    async def refund_lost(self, app: str, request_id: str) -> None:
        """Refund a reservation of a worker that died: now, or once Redis is back."""
        self._lost[app, request_id] = None
        if len(self._lost) > self._max_pending:
            self._lost.popitem(last=False)  # the sweep refunds it when it is overdue
        with contextlib.suppress(*AWAY):
            await self._refund_lost()

    async def _refund_lost(self) -> None:
        for app, request_id in list(self._lost):
            if record := await self._store.find(app, request_id):
                await self._store.close(record, REFUND, age_s=0, era=FORGET)
            self._lost.pop((app, request_id), None)

    async def sweep(self) -> int:
        """Refund all overdue reservations of all applications; returns how many. Raises what is in AWAY."""
        refunded = 0
        for app in await self._store.apps():
            while overdue := await self._store.overdue(app):
                for record in overdue:
                    refunded += await self._store.close(record, REFUND, age_s=0, era=FORGET)
        return refunded

    async def run(self) -> None:
        """Run the background work until cancelled."""
        while True:
            try:
                await self.tick()
            except AWAY as problem:
                log.debug("limits: Redis does not respond: %s", problem)
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        """Register this worker, send queued changes, then use Redis again; sweep periodically.

        Raises what is in AWAY; the breaker then stays as it was, or opens.
        """
        self._count_workers(await self._store.beat(self._worker, WORKER_GONE_S))
        if self._apps:
            await self._store.add_apps(list(self._apps))
        for _ in range(ROUNDS):
            for reservation, used in list(self._pending.values()):
                await self._send(reservation, used)
            if not self.breaker.is_open or not self._pending:
                break
        self.breaker.close()
        await self._refund_lost()
        if self._clock() - self._swept_at >= SWEEP_S:
            self._swept_at = self._clock()
            await self.sweep()

    async def leave(self) -> None:
        """At shutdown: send the queued changes and deregister this worker."""
        try:
            for reservation, used in list(self._pending.values()):
                await self._send(reservation, used)
            await self._store.leave(self._worker)
        except AWAY as problem:
            log.warning("limits: %d changes were not sent to Redis: %s", len(self._pending), problem)

    async def _close(self, reservation: Reservation, used: int) -> None:
        if reservation.is_closed:
            return
        reservation.is_closed = True
        record, age_s = reservation.record, self._clock() - reservation.began
        kept = None if used == REFUND else used
        self._shares.close(record.app, record.user, record.request_id, record.tokens, kept, age_s)
        # Queued first, then sent: if this task is cancelled in between, the background work sends it.
        self._queue(reservation, used)
        if not self.breaker.is_open:
            try:
                await self._send(reservation, used)
            except AWAY:
                log.debug("limits: %s will be closed later", record.request_id)

    async def _send(self, reservation: Reservation, used: int) -> None:
        record = reservation.record
        age_s = self._clock() - reservation.began
        await self._store.close(record, used, age_s=age_s, era=reservation.era)
        key = (record.app, record.request_id)
        if key in self._pending and self._pending[key][1] == used:  # otherwise it was closed meanwhile
            del self._pending[key]

    def _queue(self, reservation: Reservation, used: int, era: str | None = None) -> None:
        if era is not None:
            reservation.era = era
        self._pending[reservation.record.app, reservation.record.request_id] = (reservation, used)
        if len(self._pending) > self._max_pending:
            self._pending.popitem(last=False)
            self.dropped += 1

    def _count_workers(self, seen: int) -> None:
        """Raise the number at once, lower it only after a while: a restarted Redis does not know all workers yet."""
        now = self._clock()
        if seen >= self._shares.workers:
            self._shares.workers, self._fewer_since = seen, None
        elif self._fewer_since is None:
            self._fewer_since = now
        elif now - self._fewer_since > WORKER_GONE_S:
            self._shares.workers, self._fewer_since = seen, None


def _user_key(user: str | None) -> str:
    """A digest of the user for Redis's keys; "" for no user."""
    return "" if user is None else hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
