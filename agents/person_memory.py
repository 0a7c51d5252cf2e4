"""The memory of a person for agents: `agents.base.PersonMemory` on top of the memory service.

If the database is down or slow, the agent answers without memory.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from agents.base import MemoryLine
from agents.inbox.occasions import LOOKED_BACK, MAX_LOOKED_BACK, greeting_lines
from memory.service import MemoryService, Recalled
from storage.database import AWAY
from storage.memory.owner import Owner

log = logging.getLogger(__name__)


class StoredMemory:
    """The memory of one person.

    Args:
        store: people's pasts.
        owner: the person.
        timeout_s: for each question.

    """

    def __init__(self, store: MemoryService, owner: Owner, *, timeout_s: float) -> None:
        self._store = store
        self._owner = owner
        self._timeout_s = timeout_s

    async def profile(self) -> Sequence[str]:
        """Their name, the application's description of them, and pinned memories."""
        try:
            async with asyncio.timeout(self._timeout_s):
                profile, pinned = await self._store.brief(self._owner)
        except AWAY as problem:
            log.warning("an agent answers without a profile: %r", problem)
            return ()
        lines = [f"They are called {profile.name}."] if profile.name else []
        lines += [f"{name}: {value}" for name, value in sorted(profile.details.items())]
        return lines + [each.text for each in pinned]

    async def recall(self, question: str, *, limit: int) -> Sequence[MemoryLine]:
        """The memories that match a question, the best match first."""
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._store.recall(self._owner, question, limit=limit)
        except AWAY as problem:
            log.warning("an agent answers without memories: %r", problem)
            return ()
        return [memory_line(each) for each in found]

    async def look_back(self, since: datetime, now: datetime) -> Sequence[tuple[str, str]] | None:
        """What was planned for the time since their last visit, or was painful before; None: memory is down."""
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._store.around(self._owner, now - LOOKED_BACK, now, limit=MAX_LOOKED_BACK)
        except AWAY as problem:
            log.warning("an agent does not look back: %r", problem)
            return None
        return greeting_lines(found, since=since, now=now)


def memory_line(recalled: Recalled) -> MemoryLine:
    """A recalled item in the form that agents use."""
    item = recalled.ranked.item
    speaker = f"{item.speaker} said: " if item.kind == "turn" and item.speaker else ""
    return MemoryLine(recalled.record.id, f"{item.at:%Y-%m-%d}: {speaker}{item.text}", _why(recalled))


def _why(recalled: Recalled) -> str:
    """The reason for a recall in words: the rankers that found the item."""
    by_words = any("lexical" in ranker for ranker in recalled.ranked.by_ranker)
    return "shares words with what you said" if by_words else "is about the same thing as what you said"
