"""Who asks: API keys, checked against SQL and remembered for a few seconds, an expiry honoured to the instant.

A key is 256 random bits, so a plain SHA-256 is enough to store it and to look it up. It does not know tiers or limits.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

from serving.errors import Unauthenticated


class Expiring(Protocol):
    """What the ring reads of a record."""

    @property
    def expires_at(self) -> datetime | None:
        """The instant from which the key is refused."""


Record = TypeVar("Record", bound=Expiring)

REMEMBER_S = 5.0  # how long a revoked key may still work
REMEMBER_AT_MOST = 10_000  # entries, so that guessed keys cannot fill the memory


class KeyRing(Generic[Record]):
    """Finds the record of a presented key.

    Args:
        find: looks a SHA-256 hex digest up in SQL; None for a key that is unknown, revoked, or expired at that instant.
        clock: monotonic seconds.
        now: the time of day, UTC.

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

    async def admit(self, authorization: str | None) -> Record:
        """The record of the key in an Authorization header; raises Unauthenticated without a valid one."""
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated(
                "You didn't provide an API key: send `Authorization: Bearer KEY` (make one with `bondhu keys create`)."
            )
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
        known = self._remembered.get(digest)
        if known is None or known[0] < self._clock():
            record = await self._find(digest, self._now())
            self._remember(digest, record)
        else:
            record = known[1]
        if record is None or (record.expires_at is not None and record.expires_at <= self._now()):
            # One text: a stranger does not learn whether a key ever existed.
            raise Unauthenticated("Incorrect API key provided: it is unknown, revoked or expired.")
        return record

    def _remember(self, digest: str, record: Record | None) -> None:
        self._remembered[digest] = (self._clock() + REMEMBER_S, record)
        self._remembered.move_to_end(digest)
        while len(self._remembered) > REMEMBER_AT_MOST:
            self._remembered.popitem(last=False)
