"""What is kept of a person beside their past: playlists, jobs, links to services, what they consented to.

Which tables those are is read off the schema, as erasure does: a new one is in the export of a person unless it is
named here. It does not know what the rows mean.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import LargeBinary, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.memory.erasure import KEPT, owned_tables
from storage.memory.owner import Owner

# In the document by name, or shown elsewhere: vectors are made of texts; what is set aside is listed with its wish.
TOLD = frozenset({"people", "conversations", "messages", "memories", "agent_states"})
LEFT_OUT = KEPT | {"embeddings", "given", "set_aside"}
MAX_ROWS = 10_000  # of a table


async def read_other_rows(engine: AsyncEngine, owner: Owner) -> dict[str, list[dict[str, Any]]]:
    """Rows as JSON, by table; tables without any are left out, and so is what is encrypted."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with engine.connect() as connection:
        for table in owned_tables():
            if table.name in TOLD | LEFT_OUT:
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
