"""Sessions of people with agents in Redis, over the truth in SQL: the documents of `agents.state` during a run.

SQL says which documents a person has in a conversation, and which content of each is current: one statement of a few
bytes for a run. Contents come from Redis if they are those, otherwise from SQL, and are stored in Redis for the next
run. So whatever Redis has, an older content never stands for a newer one, whoever wrote it (another worker, a job, a
restored backup), and a document that was deleted is not found; without Redis, SQL has all of it.

SQL is written first. A person who is forgotten, and a document that is deleted, go from Redis too, and a run that began
before does not bring them back (the era of `serving.cache.redis_store`). It does not know what the documents mean.
"""

import json
import logging
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from serving.cache.redis_store import Item, ResponseStore
from serving.protocol.owner import owner_of, owners_of
from serving.resilience.redis import AWAY, GuardedRedis, erasing
from storage.agents.states import SqlStates, Stamp, StateKey, Versioned
from storage.memory.owner import Owner

log = logging.getLogger(__name__)
PREFIX = "bondhu:sessions:1:"  # the number is the version of the values' format
TTL_S = 1800.0
MAX_DOCUMENTS = 64  # of a person
MAX_BYTES = 262_144  # of a document in Redis; longer ones are in SQL only


class AgentSessions:
    """Documents in SQL with contents in Redis: an `agents.state.StateStore`, and a `memory.erasure.ErasureTarget`.

    Args:
        states: documents in SQL.
        redis: Redis, guarded for this.
        new_era: makes a name that was not used before.

    """

    def __init__(self, states: SqlStates, redis: GuardedRedis, new_era: Callable[[], str]) -> None:
        self._states = states
        self._new_era = new_era
        self.store = ResponseStore(redis, max_fields=MAX_DOCUMENTS, prefix=PREFIX)

    def of_run(self, owner: Owner, conversation: str) -> "AgentSession":
        """The documents during one run, of a person in a conversation."""
        return AgentSession(self._states, self.store, owner, conversation, self._new_era)

    async def load(self, key: StateKey) -> Versioned | None:
        """The document, from SQL; None if there is none."""
        return await self._states.load(key)

    async def save(self, key: StateKey, value: Mapping[str, Any], *, expected: int) -> bool:
        """Store it as version `expected` + 1 (0: must not exist yet). False, and nothing stored, on a conflict."""
        return await self._states.save(key, value, expected=expected)

    async def delete(self, key: StateKey) -> None:
        """Delete it, if it exists."""
        await self.of_run(key.owner, key.conversation).delete(key)

    async def of_person(self, owner: Owner) -> list[tuple[StateKey, Mapping[str, Any]]]:
        """All documents of a person, by agent, conversation and name."""
        return await self._states.of_person(owner)

    async def forget(self, whom: Owner | str) -> None:
        """Delete the sessions of a person, or of a whole application; raises CacheAway."""
        with erasing():
            if isinstance(whom, str):
                await self.store.forget_all(owners_of(whom), self._new_era)
            else:
                await self.store.forget(owner_of(whom.app, whom.user), self._new_era())

    async def count(self, whom: Owner | str) -> int:
        """The number of documents in Redis; raises CacheAway."""
        with erasing():
            if isinstance(whom, str):
                return await self.store.count_all(owners_of(whom))
            return await self.store.count(owner_of(whom.app, whom.user))


class AgentSession:
    """The documents during one run: an `agents.state.StateStore`.

    A run sees them as they were at its first look, with its own changes; a conflict makes it look again. Contents are
    kept as text, because whoever loads one may change it.
    """

    def __init__(
        self, states: SqlStates, store: ResponseStore, owner: Owner, conversation: str, new_era: Callable[[], str]
    ) -> None:
        self._new_era = new_era
        self._states = states
        self._store = store
        self._owner = owner
        self._conversation = conversation
        self._digest = owner_of(owner.app, owner.user)
        self._stamps: dict[StateKey, Stamp] | None = None
        self._contents: dict[StateKey, bytes] = {}
        self._era: bytes | None = None

    async def load(self, key: StateKey) -> Versioned | None:
        """The document; None if there is none."""
        if key.owner != self._owner or key.conversation not in ("", self._conversation):
            return await self._states.load(key)
        if self._stamps is None:
            self._stamps = await self._states.stamps(self._owner, self._conversation)
        stamp = self._stamps.get(key)
        if stamp is None:
            return None
        if key not in self._contents:
            found = await self._find(key, stamp)
            if found is not None:
                self._contents[key] = found
            else:
                stamp = await self._from_sql(key)
                if stamp is None:
                    return None
        return Versioned(json.loads(self._contents[key]), stamp.version)

    async def save(self, key: StateKey, value: Mapping[str, Any], *, expected: int) -> bool:
        """Store it as version `expected` + 1 (0: it must not exist yet). False, and nothing stored, on a conflict."""
        if self._era is None:
            await self._find_era()
        stamp = await self._states.save_stamped(key, value, expected=expected)
        if stamp is None:
            self._look_again()
            return False
        await self._keep(key, stamp, value)
        return True

    async def delete(self, key: StateKey) -> None:
        """Delete it, if it exists; all of the person's go from Redis, where no run may store it again.

        While Redis is unavailable it stays there until it expires, and is not read.
        """
        await self._states.delete(key)
        self._look_again()
        try:
            await self._store.forget(self._digest, self._new_era())
        except AWAY as problem:
            log.info("a document stays in Redis until it expires: %r", problem)

    def _look_again(self) -> None:
        self._stamps, self._era = None, None
        self._contents.clear()

    async def _from_sql(self, key: StateKey) -> Stamp | None:
        loaded = await self._states.load_stamped(key)
        if loaded is None:
            if self._stamps is not None:
                self._stamps.pop(key, None)
            return None
        value, stamp = loaded
        await self._keep(key, stamp, value)
        return stamp

    async def _find(self, key: StateKey, stamp: Stamp) -> bytes | None:
        """The content with this stamp in Redis."""
        found = await self._store.find(self._digest, [_field(key)])
        if found is None:
            return None
        if self._era is None:
            self._era = found.era
        stored, _, content = (found.values[0] or b"").partition(b"\n")
        return content if stored == _written(stamp) else None

    async def _find_era(self) -> None:
        found = await self._store.find(self._digest, [])
        self._era = None if found is None else found.era

    async def _keep(self, key: StateKey, stamp: Stamp, value: Mapping[str, Any]) -> None:
        content = json.dumps(value).encode()  # as SQLAlchemy writes it
        if self._stamps is not None:
            self._stamps[key] = stamp
        self._contents[key] = content
        if self._era is not None and len(content) <= MAX_BYTES:
            item = Item(_field(key), _written(stamp) + b"\n" + content, TTL_S)
            await self._store.keep(self._digest, self._era, [item])


def _field(key: StateKey) -> bytes:
    return blake2b(json.dumps([key.agent, key.conversation, key.name]).encode(), digest_size=16).digest()


def _written(stamp: Stamp) -> bytes:
    return f"{stamp.version} {stamp.updated_at.timestamp():.6f}".encode()
