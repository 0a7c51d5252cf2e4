"""What an agent keeps of a person and a conversation: JSON documents with a version, changed by compare-and-set.

`storage.agents.states` keeps them in SQL. A document that somebody else changed meanwhile is not overwritten: whoever
saves reads again and decides anew. It does not know what the documents mean.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from storage.agents.states import StateKey, Versioned


class StateStore(Protocol):
    """Keeps documents."""

    async def load(self, key: StateKey) -> Versioned | None:
        """The document; None when there is none."""

    async def save(self, key: StateKey, value: Mapping[str, Any], *, expected: int) -> bool:
        """Store it as version `expected` + 1; 0: there must be none yet. False, and nothing stored, on a conflict."""

    async def delete(self, key: StateKey) -> None:
        """Delete it; it need not be there."""
