"""What a memory said before it was edited: a memory of its own that has ended, and goes with the one it was.

Its id begins with a digest of that one's, so that it can be told in every table, also while it is set aside. Recall
finds it when what is over is asked for; lists leave it out. What a turn said before it was replaced is kept in the same
way (`storage.memory.turns.replaced`).
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, not_, or_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.memory.owner import Owner
from storage.memory.tables import Memory, SetAside

if TYPE_CHECKING:
    from storage.memory.memories import MemoryRecord

BEGINNING, LAST = "former-", "~"  # LAST sorts after every character of an id


def former_row(before: "MemoryRecord", *, version: int, now: datetime) -> dict[str, Any]:
    """The columns of the former text of a memory that is edited now, without the owner's."""
    until = now if before.valid_until is None else min(now, before.valid_until)
    begun = before.valid_from is not None and before.valid_from < until
    return asdict(before) | {
        "id": prefix_of(before.id) + secrets.token_hex(8),
        "valid_from": before.valid_from if begun else None,
        "valid_until": until,
        "superseded_by": before.id,
        "pinned": False,
        "changed_in": version,
        "updated_at": now,
    }


def prefix_of(memory_id: str) -> str:
    """How the ids of a memory's former texts begin."""
    return f"{BEGINNING}{hashlib.blake2b(memory_id.encode(), digest_size=12).hexdigest()}-"


def are_former(column: Any, memory_id: str | None = None) -> ColumnElement[bool]:
    """The condition that an id is of a former text: of this memory, or of any."""
    prefix = BEGINNING if memory_id is None else prefix_of(memory_id)
    return and_(column >= prefix, column < prefix + LAST)


def are_of_former(turns: Iterable[str]) -> ColumnElement[bool]:
    """The condition that a memory ended because it quoted one of these replaced turns (ids of their former texts)."""
    return and_(are_former(Memory.id), Memory.superseded_by.in_([each for each in turns if each.startswith(BEGINNING)]))


def turns_of(former_texts: Iterable[str]) -> set[str]:
    """The ids of the replaced turns among these former texts, and ids that no turn has: a backup has the turns."""
    return {each.rpartition("-")[2] for each in former_texts if each.startswith(BEGINNING)}


def are_current(column: Any) -> ColumnElement[bool]:
    """The condition that an id is of no former text."""
    return not_(are_former(column))


def with_former(column: Any, memory_id: str) -> ColumnElement[bool]:
    """The condition that an id is this memory's or of one of its former texts."""
    return or_(column == memory_id, are_former(column, memory_id))


async def former_texts_of(connection: AsyncConnection, owner: Owner, memory_ids: Iterable[str]) -> list[str]:
    """The ids of the former texts of these memories, also of those that are set aside."""
    prefixes = {prefix_of(each) for each in memory_ids}
    if not prefixes:
        return []
    kept = owner.select(Memory, Memory.id).where(are_former(Memory.id))
    aside = owner.select(SetAside, SetAside.item_id).where(SetAside.kind == "memory", are_former(SetAside.item_id))
    found = (await connection.execute(union(kept, aside))).scalars()
    return [each for each in found if f"{each.rpartition('-')[0]}-" in prefixes]
