"""A person's rows outside conversations and memories: playlists, jobs, links to services, consent.

The tables are found in the schema, as in erasure: a new one is part of a person's export unless it is excluded here.
This module does not know what the rows mean.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import LargeBinary, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.erasure import KEPT, owned_tables
from storage.memory.owner import Owner

# In the document by name, or shown elsewhere: vectors are made of texts; what is set aside is listed with its wish.
EXPORTED_BY_NAME = frozenset({"people", "conversations", "messages", "memories", "memory_sources", "agent_states"})
LEFT_OUT = KEPT | {"embeddings", "given", "set_aside"}
MAX_ROWS = 10_000  # of a table


async def read_other_rows(engine: AsyncEngine, owner: Owner) -> dict[str, list[dict[str, Any]]]:
    """The rows as JSON, by table, without empty tables and encrypted columns."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with engine.connect() as connection:
        for table in owned_tables():
            if table.name in EXPORTED_BY_NAME | LEFT_OUT:
                continue
            columns = [
                column
                for column in table.columns
                if column.name not in owner.columns and not isinstance(column.type, LargeBinary)
            ]
            theirs = select(*columns).where(table.c.app == owner.app, table.c.end_user == owner.user).limit(MAX_ROWS)
            rows = (await connection.execute(theirs)).mappings()
            if rows_of_table := [{name: _plain(value) for name, value in row.items()} for row in rows]:
                found[table.name] = rows_of_table
    return found


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value
