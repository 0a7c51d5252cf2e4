"""Erases a person, or all people of an application, and counts what remains.

The tables with personal data are not listed here but found in the schema: every table with the columns `app` and
`end_user` is erased unless it is in KEPT. So a new table cannot be forgotten.
"""

import asyncio
from typing import cast

from sqlalchemy import ColumnElement, Table, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.agents import tables as agent_tables  # noqa: F401 - their tables belong to the metadata
from storage.erasure.log import Erased, ErasureLog
from storage.media import tables as media_tables  # noqa: F401 - their tables belong to the metadata
from storage.memory.owner import Owner
from storage.memory.tables import Person
from storage.services import tables as service_tables  # noqa: F401 - their tables belong to the metadata
from storage.tables import Base

# The ledger: who asked when, what it used and cost. It holds no content, and sums must stay what they were.
SCRUB_WAITS_S = (0.0, 0.1, 0.4)
KEPT = frozenset({"requests"})
_PEOPLE = cast(Table, Person.__table__)


async def erase(engine: AsyncEngine, whom: Owner | str, log: ErasureLog | None = None) -> None:
    """Delete all rows of a person, or of all people of an application (its name), in one transaction.

    The erasure is recorded in `log`.
    """
    for is_last in (False, False, True):
        try:
            async with engine.begin() as connection:
                # First the rows that every writer takes first (storage.memory.people.bump), so that none writes
                # meanwhile.
                await connection.execute(update(Person).where(*_of(_PEOPLE, whom)).values(version=Person.version))
                for table in reversed(owned_tables()):
                    if table.name not in KEPT:
                        await connection.execute(delete(table).where(*_of(table, whom)))
                if log is not None:
                    await log.note(connection, [Erased.whom(whom)])
            return
        except IntegrityError:  # a person who was new a moment ago: not among the rows taken
            if is_last:
                raise


async def scrub(engine: AsyncEngine) -> int:
    """Remove deleted data from SQLite's files; returns how many pages a reader kept in the write-ahead log.

    Freed pages are overwritten (`storage.database`), but their old content is first in the write-ahead log. Postgres
    does this itself when it vacuums. What a reader keeps is removed by the next call.
    """
    if engine.dialect.name != "sqlite":
        return 0
    for wait_s in SCRUB_WAITS_S:
        await asyncio.sleep(wait_s)
        async with engine.connect() as connection:
            row = (await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).one()
        is_busy, pages, _ = map(int, row)
        if not is_busy:
            return 0
    return max(pages, 1)


async def count(engine: AsyncEngine, whom: Owner | str) -> dict[str, int]:
    """The number of their rows per table, including KEPT ones."""
    left = {}
    async with engine.connect() as connection:
        for table in owned_tables():
            query = select(func.count()).select_from(table).where(*_of(table, whom))
            left[table.name] = int((await connection.execute(query)).scalar_one())
    return left


def owned_tables() -> list[Table]:
    """The tables with personal rows, referenced tables first."""
    return [table for table in Base.metadata.sorted_tables if {"app", "end_user"} <= set(table.columns.keys())]


def _of(table: Table, whom: Owner | str) -> list[ColumnElement[bool]]:
    if isinstance(whom, str):
        return [table.c.app == whom]
    return [table.c.app == whom.app, table.c.end_user == whom.user]
