"""What the application said of a person, for a request that has to know it: read from SQL, and not waited for.

A database that is away, or slow, knows nothing of anybody just now: a country that the request names is enough for a
helpline, and nobody waits for theirs because of a table.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from memory.person_facts import PersonFacts, facts_of
from serving.protocol.request import GenerationRequest
from storage.database import AWAY
from storage.memory.owner import Owner
from storage.memory.people import Profile

log = logging.getLogger(__name__)
WITHIN_S = 0.25  # a database that hangs knows nothing
Read = Callable[[Owner], Awaitable[Profile]]


class People:
    """Looks facts up.

    Args:
        read: a person's profile in SQL.
        now: the time, aware.

    """

    def __init__(self, read: Read, now: Callable[[], datetime]) -> None:
        self._read = read
        self._now = now

    async def of(self, request: GenerationRequest) -> PersonFacts:
        """The facts of whom a request is for; none of nobody."""
        if request.user is None:
            return PersonFacts()
        try:
            async with asyncio.timeout(WITHIN_S):
                profile = await self._read(Owner(request.app, request.user))
        except AWAY as problem:
            log.warning("nothing is known of a person just now: %r", problem)
            return PersonFacts()
        return facts_of(profile.details, self._now().date())
