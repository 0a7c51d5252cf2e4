"""The past of the person whom an agent answers: taken in as for a plain chat, told by the agent itself.

What a plain chat is told in its messages, an agent asks for when it needs it (`agents.base.PersonMemory`), so that it
is told once, a game costs no recall, and `why` names just what the reply was given. It does not know which agent.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from agents.base import MemoryLine
from agents.person_memory import memory_line
from memory.intents.executor import Done
from serving.chat_memory.prompt import note_of, profile_lines
from serving.chat_memory.session import ChatMemory
from serving.protocol.request import GenerationRequest
from serving.protocol.response import ResponseWriter
from storage.database import AWAY
from storage.memory.memories import MemoryRecord
from storage.memory.people import Profile, zone_of

log = logging.getLogger(__name__)


class AgentRecollection(ChatMemory):
    """A run's."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._profile = Profile(None, {})
        self._pinned: list[MemoryRecord] = []
        self._notes: list[str] = []
        self._obeyed: Done | None = None
        self._is_there = False

    @property
    def zone(self) -> tzinfo | None:
        """Where the person is, if the application says so."""
        return zone_of(self._profile.details)

    async def profile(self) -> Sequence[str]:
        """What is always told of them, and what was just done to their memory as they wished."""
        return [*profile_lines(self._profile, self._pinned), *self._notes]

    async def recall(self, question: str, *, limit: int) -> Sequence[MemoryLine]:
        """What of their past belongs to a question; empty also while memory is away."""
        if not self._is_there:
            return ()
        try:
            async with asyncio.timeout(self._rules.timeout_s):
                found = await self._recall(question, self._pinned, self._obeyed)
        except AWAY as problem:
            log.warning("an agent answers without memories: %r", problem)
            return ()
        return [memory_line(each) for each in found[:limit]]

    def announce(self, reply: ResponseWriter) -> None:
        """Tell the client how much the agent was told; before the reply starts."""
        if self._is_there:
            super()._announce(reply)

    def _announce(self, reply: ResponseWriter) -> None:
        """Not yet: the agent has not asked."""

    async def _told(self, question: str, done: Done | None) -> GenerationRequest:
        self._profile, self._pinned = await self._brief()
        self._obeyed = done
        self._notes = [] if done is None else [note_of(done)]
        self._is_there = True
        return self._call

    def _with(self, profile: Sequence[str], recalled: Sequence[str], notes: Sequence[str]) -> GenerationRequest:
        self._notes = list(notes)
        return self._call
