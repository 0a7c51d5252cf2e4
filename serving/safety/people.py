"""Reads what the application knows about a person (age, country) from SQL, within a short timeout.

While the database is unavailable or slow, the facts are empty: the request's country is enough to choose a helpline,
and nobody must wait for one because of the database.
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
READ_TIMEOUT_S = 0.25  # then the person is treated as unknown
Read = Callable[[Owner], Awaitable[Profile]]


class People:
    """Looks up the facts about people.

    Args:
        read: a person's profile in SQL.
        now: the time, aware.

    """

    def __init__(self, read: Read, now: Callable[[], datetime]) -> None:
        self._read = read
        self._now = now

    async def of(self, request: GenerationRequest) -> PersonFacts:
        """Return the facts about the person of a request; empty if it names nobody."""
        if request.user is None:
            return PersonFacts()
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                profile = await self._read(Owner(request.app, request.user))
        except AWAY as problem:
            log.warning("the facts about a person cannot be read: %r", problem)
            return PersonFacts()
        return facts_of(profile.details, self._now().date())
