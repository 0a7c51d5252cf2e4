"""Who asks: API keys, checked against SQL and remembered for a few seconds, an expiry honoured to the instant.

A key is 256 random bits, so a plain SHA-256 is enough to store it and to look it up. It does not know tiers or limits.
"""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from serving.auth.throttle import AuthThrottle
from serving.errors import TooManyKeys, Unauthenticated


class Expiring(Protocol):
    """What the ring reads of a record."""

    @property
    def expires_at(self) -> datetime | None:
        """The instant from which the key is refused."""


Record = TypeVar("Record", bound=Expiring)

REMEMBER_S = 5.0  # how long a revoked key may still work
REMEMBER_AT_MOST = 10_000  # entries, so that guessed keys cannot fill the memory


class ApiKeyAuthenticator(Generic[Record]):
    """Finds the record of a presented key.

    Args:
        find: looks a SHA-256 hex digest up in SQL; None for a key that is unknown, revoked, or expired at that instant.
        clock: monotonic seconds.
        now: the time of day, UTC.

    Of one key at a time there is one look-up, however many requests present it; of keys that were never good, as many
    as `serving.auth.throttle` allows their address.
    """

    def __init__(
        self,
        find: Callable[[str, datetime], Awaitable[Record | None]],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._find = find
        self._clock = clock
        self._now = now
        self._remembered: OrderedDict[str, tuple[float, Record | None]] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Record | None]] = {}
        self._throttle = AuthThrottle(clock)

    async def admit(self, authorization: str | None, address: str = "") -> Record:
        """The record of the key in an Authorization header, which came from `address`.

        Raises:
            Unauthenticated: there is none, or it is not valid.
            TooManyKeys: too many keys from there were not, and nobody looked at this one.

        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated(
                "You didn't provide an API key: send `Authorization: Bearer KEY` (make one with `bondhu keys create`)."
            )
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
        known = self._remembered.get(digest)
        if known is None or known[0] < self._clock():
            record = await self._look_up(digest, None if known is None else known[1], address)
        else:
            record = known[1]
        if record is None or (record.expires_at is not None and record.expires_at <= self._now()):
            # One text: a stranger does not learn whether a key ever existed.
            raise Unauthenticated("Incorrect API key provided: it is unknown, revoked or expired.")
        return record

    async def _look_up(self, digest: str, was: Record | None, address: str) -> Record | None:
        """What SQL has; `was` is what it had before, so that a key that was good is looked at again whoever guesses."""
        looking = self._looking.get(digest)
        if looking is None:
            wait_s = self._throttle.take(address) if was is None else 0.0
            if wait_s > 0:
                raise TooManyKeys(math.ceil(wait_s))
            looking = self._looking[digest] = asyncio.create_task(self._ask(digest, is_new=was is None, by=address))
            looking.add_done_callback(lambda ended: self._looked(digest, ended))
        return await asyncio.shield(looking)

    async def _ask(self, digest: str, *, is_new: bool, by: str) -> Record | None:
        record, answered = None, False
        try:
            record = await self._find(digest, self._now())
            answered = True
        finally:
            if is_new and (record is not None or not answered):
                self._throttle.give_back(by)
        self._remember(digest, record)
        return record

    def _looked(self, digest: str, ended: "asyncio.Task[Record | None]") -> None:
        del self._looking[digest]
        if not ended.cancelled():
            ended.exception()  # whoever waited was told; should they all have left, nobody need be

    def _remember(self, digest: str, record: Record | None) -> None:
        self._remembered[digest] = (self._clock() + REMEMBER_S, record)
        self._remembered.move_to_end(digest)
        while len(self._remembered) > REMEMBER_AT_MOST:
            self._remembered.popitem(last=False)
