"""Whether a request may leave, and with what in it: the stricter of its key and its end user.

Asked only when a request is about to leave, so that no other waits for it. A person's answer comes from SQL and is
remembered for a few seconds, as keys are; a change through this worker holds at once. Where SQL cannot be asked, the
answer is no. It does not know what is private in a request (`serving.privacy.redaction`).
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.protocol.request import GenerationRequest
from storage.consents import ConsentRecord
from storage.database import AWAY

log = logging.getLogger(__name__)

REMEMBER_S = 5.0  # how long a consent that was withdrawn elsewhere may still hold here
REMEMBER_AT_MOST = 10_000  # people
ANSWER_WITHIN_S = 2.0  # a database that hangs says no


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may leave; `by` says whose word it was, for the audit log: `key`, or `user` and key together."""

    external: bool
    sensitive: bool
    by: str


class Consents:
    """One gateway worker's knowledge of who consented.

    Args:
        find: (app, user) to a person's answer in SQL, None for one who was never asked.
        app_covers_users: whether the key's consent holds for people who were never asked.
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
        self._remembered: OrderedDict[tuple[str, str], tuple[float, ConsentRecord | None]] = OrderedDict()

    async def allowed(self, call: GenerationRequest) -> Allowed:
        """What of this request may leave now."""
        if call.user is None or not call.allow_external:
            return Allowed(call.allow_external, call.allow_external and call.allow_sensitive, "key")
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                own = await self._ask(call.app, call.user)
        except AWAY as problem:
            log.warning("nothing leaves: a person's consent cannot be looked up: %r", problem)
            return Allowed(False, False, "user")
        external, sensitive = self.combined(own, call.allow_external, call.allow_sensitive)
        return Allowed(external, sensitive, "key" if own is None else "user")

    def combined(self, own: ConsentRecord | None, key_external: bool, key_sensitive: bool) -> tuple[bool, bool]:
        """What may leave, ordinary and sensitive, by a person's own answer (None: never asked) and a key's."""
        if own is None:
            external = sensitive = self._app_covers_users()
        else:
            external, sensitive = own.allow_external, own.allow_sensitive
        external = external and key_external
        return external, external and sensitive and key_sensitive

    def changed(self, app: str, user: str) -> None:
        """The person's answer in SQL is another now, or may be: what is known of it no longer counts."""
        self._changes += 1
        self._remembered.pop((app, user), None)

    async def _ask(self, app: str, user: str) -> ConsentRecord | None:
        known = self._remembered.get((app, user))
        if known is not None and self._clock() <= known[0]:
            return known[1]
        while True:
            changes, asked_at = self._changes, self._clock()
            record = await self._find(app, user)
            if changes == self._changes:  # else what was read may be of before a withdrawal
                break
        self._remembered[app, user] = (asked_at + REMEMBER_S, record)
        self._remembered.move_to_end((app, user))
        while len(self._remembered) > REMEMBER_AT_MOST:
            self._remembered.popitem(last=False)
        return record
