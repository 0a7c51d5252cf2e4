"""SQLite's driver: aiosqlite with one change of threads for a statement instead of four.

aiosqlite asks its thread for the cursor, for the execution, for the rows and for the end of the cursor one after the
other, and for a rollback where nothing was begun. Each of these wakes two threads; on a small machine they took more
time than SQL. Here the cursor is made, executed, read and closed in one go; only what is left of a long result is read
later. For SQLAlchemy's dialect, which uses the same few methods of both.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import aiosqlite

READ_AT_ONCE = 256  # rows that are read with the execution
Row = tuple[Any, ...]


class Connection(aiosqlite.Connection):
    """A connection whose cursors need no thread of their own accord."""

    _was_cut = False  # a task left before its statement had ended: nobody knows what it began

    def cursor(self) -> "Cursor":  # type: ignore[override]  # aiosqlite's is made in the thread
        """A cursor; nothing happens before it executes."""
        return Cursor(self)

    async def commit(self) -> None:
        """Commit, if something was begun."""
        if self._was_cut or self.in_transaction:
            await super().commit()

    async def rollback(self) -> None:
        """Roll back, if something was begun."""
        if self._was_cut or self.in_transaction:
            await super().rollback()

    async def call(self, work: Any, *arguments: Any) -> Any:
        """Call `work` with SQLite's connection in the thread."""
        try:
            return await self._execute(work, self._conn, *arguments)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            self._was_cut = True
            raise


class Cursor:
    """The result of one statement."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: sqlite3.Cursor | None = None  # while there may be more rows
        self._rows: list[Row] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> "Cursor":
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "Cursor":
        """Execute a statement and read the first rows."""
        await self._connection.call(self._execute, sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> "Cursor":
        """Execute a statement for each of these parameters."""
        await self._connection.call(self._execute_many, sql, parameters)
        return self

    async def fetchone(self) -> Row | None:
        """The next row."""
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows."""
        wanted = size or self.arraysize
        if len(self._rows) < wanted and self._open is not None:
            await self._connection.call(self._read, wanted - len(self._rows))
        rows, self._rows = self._rows[:wanted], self._rows[wanted:]
        return rows

    async def fetchall(self) -> list[Row]:
        """All rows that are left."""
        if self._open is not None:
            await self._connection.call(self._read, None)
        rows, self._rows = self._rows, []
        return rows

    async def __aiter__(self) -> AsyncIterator[Row]:
        while rows := await self.fetchmany(READ_AT_ONCE):
            for row in rows:
                yield row

    async def close(self) -> None:
        """Drop the rows that are left."""
        self._rows = []
        if self._open is not None:
            await self._connection.call(self._close)

    def _execute(self, connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> None:
        self._open = connection.execute(sql, parameters)
        self._note()
        self._read(connection, READ_AT_ONCE)

    def _execute_many(self, connection: sqlite3.Connection, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._open = connection.executemany(sql, parameters)
        self._note()
        self._close(connection)

    def _note(self) -> None:
        assert self._open is not None, "executed"
        self.description, self.lastrowid = self._open.description, self._open.lastrowid

    def _read(self, connection: sqlite3.Connection, count: int | None) -> None:
        if self._open is None:
            return
        rows = self._open.fetchall() if count is None else self._open.fetchmany(count)
        self._rows += rows
        if count is None or len(rows) < count:
            self._close(connection)

    def _close(self, _connection: sqlite3.Connection) -> None:
        if self._open is not None:
            self.rowcount = self._open.rowcount  # of a statement with RETURNING it is known at the end
            self._open.close()
            self._open = None


def connect(database: str | Path, **arguments: Any) -> Connection:
    """A connection that opens when it is awaited; its thread does not keep the process alive."""
    connection = Connection(lambda: sqlite3.connect(str(database), **arguments), READ_AT_ONCE)
    connection._thread.daemon = True
    return connection
