"""The state that agents store about a person and a conversation: versioned JSON documents, changed by compare-and-set.

`storage.agents.states` keeps them in SQL. A document that was changed meanwhile is not overwritten: the
caller reads it again and decides anew. It does not know what the documents mean.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from storage.agents.states import StateKey, Versioned


class StateStore(Protocol):
    """Stores documents."""

    async def load(self, key: StateKey) -> Versioned | None:
        """The document; None if there is none."""

    async def save(self, key: StateKey, value: Mapping[str, Any], *, expected: int) -> bool:
        """Store it as version `expected` + 1 (0: it must not exist yet). False, and nothing stored, on a conflict."""

    async def delete(self, key: StateKey) -> None:
        """Delete it, if it exists."""
