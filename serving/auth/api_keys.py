"""API key authentication: keys are looked up in SQL and cached for a few seconds; expiry takes effect at once.

A key has 256 random bits, so a plain SHA-256 is enough to store and look it up. This module does not know tiers or
limits.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from serving.auth.throttle import AuthThrottle
from serving.errors import TooManyKeys, Unauthenticated
from serving.resilience.ttl_cache import TtlCache


class Expiring(Protocol):
    """What the authenticator needs of a key's record."""

    @property
    def expires_at(self) -> datetime | None:
        """The time at which the key expires; None: never."""


Record = TypeVar("Record", bound=Expiring)

REMEMBER_S = 5.0  # how long a revoked key may still work
MAX_REMEMBERED = 10_000  # entries, so that guessed keys cannot exhaust memory


class ApiKeyAuthenticator(Generic[Record]):
    """Finds the record of a presented key.

    Args:
        find: looks up a SHA-256 hex digest in SQL; None for a key that is unknown, revoked, or expired at that time.
        clock: monotonic seconds.
        now: the time of day, UTC.

    Concurrent requests with the same key share one lookup. `serving.auth.throttle` limits lookups of unknown keys by
    address.
    """

    def __init__(
        self,
        find: Callable[[str, datetime], Awaitable[Record | None]],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._find = find
        self._now = now
        self._remembered: TtlCache[str, Record | None] = TtlCache(REMEMBER_S, MAX_REMEMBERED, clock)
        self._lookups: dict[str, asyncio.Task[Record | None]] = {}
        self._throttle = AuthThrottle(clock)

    async def admit(self, authorization: str | None, address: str = "") -> Record:
        """The record of the key in an Authorization header that was sent from `address`.

        Raises:
            Unauthenticated: the key is missing or invalid.
            TooManyKeys: the address has sent too many invalid keys; this one was not checked.

        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated(
                "You didn't provide an API key: send `Authorization: Bearer KEY`, or `x-api-key: KEY` (make one with "
                "`bondhu keys create`)."
            )
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
        known = self._remembered.find(digest)
        if known is not None and known.is_fresh:
            record = known.value
        else:
            record = await self._look_up(digest, None if known is None else known.value, address)
        if record is None or (record.expires_at is not None and record.expires_at <= self._now()):
            # The same text for all cases, so that nobody learns whether a key ever existed.
            raise Unauthenticated("Incorrect API key provided: the key is unknown, revoked or expired.")
        return record

    async def _look_up(self, digest: str, previous: Record | None, address: str) -> Record | None:
        """Look the key up in SQL; a key with a `previous` record is known and not throttled, whatever others guess."""
        lookup = self._lookups.get(digest)
        if lookup is None:
            wait_s = self._throttle.take(address) if previous is None else 0.0
            if wait_s > 0:
                raise TooManyKeys(math.ceil(wait_s))
            lookup = self._lookups[digest] = asyncio.create_task(
                self._find_record(digest, is_new=previous is None, address=address)
            )
            lookup.add_done_callback(lambda task: self._forget_lookup(digest, task))
        return await asyncio.shield(lookup)

    async def _find_record(self, digest: str, *, is_new: bool, address: str) -> Record | None:
        record, succeeded = None, False
        try:
            record = await self._find(digest, self._now())
            succeeded = True
        finally:
            if is_new and (record is not None or not succeeded):
                self._throttle.give_back(address)
        self._remembered.put(digest, record)
        return record

    def _forget_lookup(self, digest: str, task: "asyncio.Task[Record | None]") -> None:
        del self._lookups[digest]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: those who waited got it, and nobody may be left
