"""Consent to external models: whether a request, and its private content, may be sent to one.

Both the API key and the end user must allow it. It is only checked when a request is about to be sent. A person's
consent is read from SQL and cached for a few seconds, like keys; a change through this worker takes effect at once. If
SQL is unavailable, the answer is no. This module does not know what is private in a request
(`serving.privacy.redaction`).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.protocol.request import GenerationRequest
from serving.resilience.ttl_cache import TtlCache
from storage.consents import ConsentRecord
from storage.database import AWAY

log = logging.getLogger(__name__)

REMEMBER_S = 5.0  # how long a consent that another worker withdrew may still be used here
MAX_REMEMBERED = 10_000  # people
ANSWER_WITHIN_S = 2.0  # timeout of SQL, which counts as no


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be sent; `by` says who decided, for the audit log: `key`, or `user` (together with the key)."""

    external: bool
    sensitive: bool
    by: str


class Consents:
    """Looks up consent for one gateway worker.

    Args:
        find: returns the consent of (app, user) in SQL; None for a person who was never asked.
        app_covers_users: whether the key's consent covers people who were never asked.
        clock: monotonic seconds.

    """

    def __init__(
        self,
        find: Callable[[str, str], Awaitable[ConsentRecord | None]],
        *,
        app_covers_users: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._app_covers_users = app_covers_users
        self._clock = clock
        self._changes = 0
        self._remembered: TtlCache[tuple[str, str], ConsentRecord | None] = TtlCache(REMEMBER_S, MAX_REMEMBERED, clock)

    async def allowed(self, request: GenerationRequest) -> Allowed:
        """What of this request may be sent now."""
        if request.user is None or not request.allow_external:
            return Allowed(request.allow_external, request.allow_external and request.allow_sensitive, "key")
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                own = await self._look_up(request.app, request.user)
        except AWAY as problem:
            log.warning("no request is sent to an external model: consent cannot be looked up: %r", problem)
            return Allowed(False, False, "user")
        external, sensitive = self.combined(own, request.allow_external, request.allow_sensitive)
        return Allowed(external, sensitive, "key" if own is None else "user")

    def combined(self, own: ConsentRecord | None, key_external: bool, key_sensitive: bool) -> tuple[bool, bool]:
        """Whether (ordinary, sensitive) content may be sent, by a person's consent (None: never asked) and a key's."""
        if own is None:
            external = sensitive = self._app_covers_users()
        else:
            external, sensitive = own.allow_external, own.allow_sensitive
        external = external and key_external
        return external, external and sensitive and key_sensitive

    def changed(self, app: str, user: str) -> None:
        """Forget the cached consent of a person, because it has, or may have, changed in SQL."""
        self._changes += 1
        self._remembered.drop((app, user))

    async def _look_up(self, app: str, user: str) -> ConsentRecord | None:
        known = self._remembered.find((app, user))
        if known is not None and known.is_fresh:
            return known.value
        while True:
            changes, started_at = self._changes, self._clock()
            record = await self._find(app, user)
            if changes == self._changes:  # otherwise the record may be older than a withdrawal
                break
        self._remembered.put((app, user), record, since=started_at)
        return record
