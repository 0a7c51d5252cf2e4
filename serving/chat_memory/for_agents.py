"""Memory for agents: turns are stored as in a plain chat, but the agent recalls when it needs to.

A plain chat has memory added to its messages; an agent asks for it (`agents.base.PersonMemory`). So nothing is added
twice, a game costs no recall, and `why` lists only what the reply used. This module does not know which agent runs.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Any

from agents.base import MemoryLine
from agents.inbox.occasions import LOOKED_BACK, MAX_LOOKED_BACK, greeting_lines
from agents.person_memory import memory_line
from memory.intents.executor import Done
from serving.chat_memory.prompt import profile_lines
from serving.chat_memory.session import ChatMemory
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter
from storage.database import AWAY
from storage.memory.memories import MemoryRecord
from storage.memory.people import Profile, zone_of

log = logging.getLogger(__name__)


class AgentRecollection(ChatMemory):
    """The memory of one run."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._profile = Profile(None, {})
        self._pinned_anywhere: list[MemoryRecord] = []
        self._pinned: list[MemoryRecord] = []
        self._notes: list[str] = []
        self._executed: Done | None = None
        self._is_there = False

    @property
    def zone(self) -> tzinfo | None:
        """The person's time zone, if the application has set it."""
        return zone_of(self._profile.details)

    async def profile(self) -> Sequence[str]:
        """The lines that are always in the prompt, and what was just done to the person's memory at their request."""
        pinned = [each for each in self._pinned_anywhere if self._scope.admits(each.persona, each.conversation)]
        profile, self._pinned = self._fitting(self._profile, pinned)
        return [*profile_lines(profile, self._pinned), *self._notes]

    def as_persona(self, persona: str) -> None:
        """See `agents.base.KnowsPersonas`."""
        self._scope = replace(self._scope, persona=persona)

    async def recall(self, question: str, *, limit: int) -> Sequence[MemoryLine]:
        """Memories that are relevant to a question; empty if memory is unavailable."""
        if not self._is_there:
            return ()
        try:
            async with asyncio.timeout(self._rules.timeout_s):
                found = await self._recall(question, self._pinned, self._executed)
        except AWAY as problem:
            log.warning("agent run without recall: %r", problem)
            return ()
        return [memory_line(item) for item in found[:limit]]

    async def look_back(self, since: datetime, now: datetime) -> Sequence[tuple[str, str]] | None:
        """What was planned for while they were away, or was painful before; None: memory is unavailable."""
        if not self._is_there:
            return None
        try:
            async with asyncio.timeout(self._rules.timeout_s):
                found = await self._store.around(self._owner, now - LOOKED_BACK, now, limit=MAX_LOOKED_BACK)
        except AWAY as problem:
            log.warning("an agent does not look back: %r", problem)
            return None
        return greeting_lines(found, since=since, now=now)

    def announce(self, response: ResponseWriter) -> None:
        """Set the header with the number of recalled items; must come before the response starts."""
        if self._is_there:
            super()._announce(response)

    def _announce(self, response: ResponseWriter) -> None:
        """Nothing yet: the agent has not recalled anything."""

    async def _build(self, question: str, done: Done | None, notes: Sequence[str]) -> GenerationRequest:
        self._profile, self._pinned_anywhere = await self._brief(None)
        self._executed = done
        self._notes = list(notes)
        self._is_there = True
        return self._request

    def _with(self, profile: Sequence[str], recalled: Sequence[str], notes: Sequence[str]) -> GenerationRequest:
        self._notes = list(notes)
        return self._request
