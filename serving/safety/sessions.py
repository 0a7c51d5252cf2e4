"""When a person was last told that they talk to a program: a document of theirs, in SQL, erased and exported with them.

One for a person, not for each conversation: the law counts the person's hours. Nobody's, or while SQL is away, what the
request itself shows decides: a conversation without any answer in it has just begun. It does not know what is due.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agents.safety.notices import Session
from agents.state import StateStore
from serving.protocol.request import GenerationRequest
from storage.agents.states import StateKey
from storage.database import AWAY
from storage.memory.owner import Owner

log = logging.getLogger(__name__)
AGENT, NAME = "notices", "session"
WITHIN_S = 0.25


class NoticeSessions:
    """Keeps them in `states`."""

    def __init__(self, states: StateStore) -> None:
        self._states = states

    async def load(self, request: GenerationRequest, now: datetime) -> tuple[Session, int]:
        """The person's session and its version; what the request shows, and version -1, where none can be kept."""
        if request.user is None:
            return _shown(request, now), -1
        try:
            async with asyncio.timeout(WITHIN_S):
                kept = await self._states.load(_key(request.app, request.user))
        except AWAY as problem:
            log.warning("when a person was last told cannot be read: %r", problem)
            return _shown(request, now), -1
        return (Session(), 0) if kept is None else (_session(kept.value), kept.version)

    async def save(self, request: GenerationRequest, session: Session, version: int) -> None:
        """Keep it, unless another request of theirs has meanwhile: then they were told by that one."""
        if request.user is None or version < 0:
            return
        value = {
            name: None if at is None else at.isoformat()
            for name, at in (
                ("last_seen", session.last_seen),
                ("disclosed", session.disclosed),
                ("rested", session.rested),
            )
        }
        try:
            await self._states.save(_key(request.app, request.user), value, expected=version)
        except AWAY as problem:
            log.warning("when a person was told cannot be kept: %r", problem)


def _key(app: str, user: str) -> StateKey:
    return StateKey(Owner(app, user), AGENT, "", NAME)


def _session(value: Mapping[str, Any]) -> Session:
    read = {name: datetime.fromisoformat(value[name]) if value.get(name) else None for name in Session.__slots__}
    return Session(**read)


def _shown(request: GenerationRequest, now: datetime) -> Session:
    """What a request tells of its conversation: with an answer in it, it goes on, and they were told."""
    messages = request.parsed.get("messages")
    goes_on = isinstance(messages, list) and any(
        isinstance(each, dict) and each.get("role") == "assistant" for each in messages
    )
    return Session(now, now, now) if goes_on else Session()
