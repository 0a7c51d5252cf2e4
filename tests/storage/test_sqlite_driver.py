"""SQLite's driver: results of any length, counts, and transactions whose task has left."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import open_engine
from storage.sqlite_driver import READ_AT_ONCE

COUNT = 2 * READ_AT_ONCE + 10


@pytest.fixture
async def numbers(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Return a database with the numbers below COUNT."""
    engine = open_engine(f"sqlite+aiosqlite:///{tmp_path / 'numbers.db'}")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
        rows = [{"number": number} for number in range(COUNT)]
        await connection.execute(text("INSERT INTO numbers VALUES (:number)"), rows)
    yield engine
    await engine.dispose()


async def test_a_long_result_is_read_whole(numbers: AsyncEngine) -> None:
    """At once, in portions, and one by one."""
    query = text("SELECT number FROM numbers ORDER BY number")
    async with numbers.connect() as connection:
        assert list((await connection.execute(query)).scalars()) == list(range(COUNT))
        portions = [list(each) async for each in (await connection.stream(query)).scalars().partitions(100)]
        assert [number for portion in portions for number in portion] == list(range(COUNT))
        assert {len(each) for each in portions[:-1]} == {100}
        assert [row.number async for row in await connection.stream(query)] == list(range(COUNT))


async def test_a_result_that_is_left_early_holds_nothing(numbers: AsyncEngine) -> None:
    """The next statement of the connection, and other writers, go on."""
    query = text("SELECT number FROM numbers")
    async with numbers.connect() as connection:
        async for _ in await connection.stream(query):
            break
    async with numbers.begin() as connection:
        await connection.execute(text("DROP TABLE numbers"))


async def test_changed_rows_are_counted(numbers: AsyncEngine) -> None:
    """Of an update, of a deletion, and of a statement that returns what it changed."""
    async with numbers.begin() as connection:
        assert (await connection.execute(text("UPDATE numbers SET number = -1 WHERE number < 3"))).rowcount == 3
        returned = await connection.execute(text("UPDATE numbers SET number = -2 WHERE number = -1 RETURNING number"))
        assert list(returned.scalars()) == [-2, -2, -2]
        assert (await connection.execute(text("DELETE FROM numbers WHERE number = -2"))).rowcount == 3
        assert (await connection.execute(text("DELETE FROM numbers WHERE number = -2"))).rowcount == 0


async def test_what_failed_is_rolled_back(numbers: AsyncEngine) -> None:
    """All of the transaction, and the error is the database's."""
    with pytest.raises(OperationalError, match="no such table: letters"):
        await _delete_and_fail(numbers)
    assert await _count(numbers) == COUNT


async def test_a_task_that_leaves_while_its_statement_waits_changes_nothing(numbers: AsyncEngine) -> None:
    """Another writer has the database when the task is cancelled; when it is free, all rows are there."""
    database = numbers.url.database
    assert database is not None
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    began = asyncio.Event()

    async def delete() -> None:
        async with numbers.begin() as connection:
            began.set()
            await connection.execute(text("DELETE FROM numbers"))

    task = asyncio.create_task(delete())
    await began.wait()
    await asyncio.sleep(0)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, writer.execute, "ROLLBACK")  # the deletion goes on, without its task
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _count(numbers) == COUNT
    async with numbers.begin() as connection:
        await connection.execute(text("INSERT INTO numbers VALUES (0)"))
    assert await _count(numbers) == COUNT + 1
    writer.close()


async def _delete_and_fail(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM numbers"))
        await connection.execute(text("SELECT * FROM letters"))


async def _count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM numbers"))).scalar_one())
