"""Records when a person was last told that they talk to a program: a document in SQL, erased and exported with them.

There is one for each person, not for each conversation, because the law counts the person's hours. Without a person, or
while SQL is unavailable, the request decides: a conversation without an answer has just begun. This module does not
know which notices are due.
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
READ_TIMEOUT_S = 0.25


class NoticeSessions:
    """Keeps the sessions in `states`."""

    def __init__(self, states: StateStore) -> None:
        self._states = states

    async def load(self, request: GenerationRequest, now: datetime) -> tuple[Session, int]:
        """Return the person's session and its version; without one, what the request implies, and version -1."""
        if request.user is None:
            return _session_of(request, now), -1
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                stored = await self._states.load(_key(request.app, request.user))
        except AWAY as problem:
            log.warning("the notice session of a person cannot be read: %r", problem)
            return _session_of(request, now), -1
        return (Session(), 0) if stored is None else (_session(stored.value), stored.version)

    async def save(self, request: GenerationRequest, session: Session, version: int) -> None:
        """Store it, unless another request of the person did so in between: that one has shown the notices."""
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
            log.warning("the notice session of a person cannot be stored: %r", problem)


def _key(app: str, user: str) -> StateKey:
    return StateKey(Owner(app, user), AGENT, "", NAME)


def _session(value: Mapping[str, Any]) -> Session:
    times = {name: datetime.fromisoformat(value[name]) if value.get(name) else None for name in Session.__slots__}
    return Session(**times)


def _session_of(request: GenerationRequest, now: datetime) -> Session:
    """The session that a request implies: if its conversation has an answer, it continues, and notices were shown."""
    messages = request.parsed.get("messages")
    continues = isinstance(messages, list) and any(
        isinstance(message, dict) and message.get("role") == "assistant" for message in messages
    )
    return Session(now, now, now) if continues else Session()
