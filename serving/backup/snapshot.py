"""Copies a consistent snapshot of the database while it is written to, and counts the rows of the snapshot.

SQLite: its backup API, in one step (https://www.sqlite.org/backup.html). Postgres: an exported snapshot that pg_dump
joins. Only our own tables are copied, because the database may have others.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, exc, inspect, text
from sqlalchemy.engine import make_url

from serving.backup import postgres_tools
from serving.backup.errors import Damaged
from serving.backup.manifest import POSTGRES_DUMP, SQLITE_DUMP, Database, ErasureEntry
from storage import every_table
from storage.database import open_engine

MIGRATIONS = "alembic_version"
_ERASURES = "SELECT id, digest, at FROM erasures ORDER BY id"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copied snapshot, and its member of the archive."""

    database: Database
    member: str
    tables: dict[str, int]
    erasures: tuple[ErasureEntry, ...]


def our_tables() -> list[str]:
    """The names of this version's tables."""
    return [*every_table.names(), MIGRATIONS]


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database; None for any other database."""
    address = make_url(url)
    return Path(address.database or "") if address.get_backend_name() == "sqlite" else None


def take(url: str, folder: Path, postgres_bin: Path | None) -> Snapshot:
    """Copy the database to its member below `folder`; raises Damaged, ToolFailed and the database's errors."""
    file = sqlite_file(url)
    if file is None:
        return asyncio.run(_take_postgres(url, folder, postgres_bin))
    target = folder / SQLITE_DUMP
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_sqlite(file, target)
    return Snapshot("sqlite", SQLITE_DUMP, count_sqlite(target), erasures_of_sqlite(target))


def copy_sqlite(file: Path, target: Path) -> None:
    """Copy a snapshot of a database file; raises Damaged if the copy is corrupt."""
    source = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    copy = sqlite3.connect(target)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file
    except sqlite3.DatabaseError as problem:
        raise Damaged(f"{file}: {problem}") from None
    finally:
        copy.close()
        source.close()
    check_sqlite(target)


def check_sqlite(file: Path) -> None:
    """Run SQLite's integrity checks, foreign keys included; raises Damaged."""
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
        finally:
            connection.close()
    except sqlite3.DatabaseError as problem:
        raise Damaged(f"the database: {problem}") from None
    if verdict != "ok" or orphans:
        raise Damaged(f"the database: {verdict if verdict != 'ok' else f'{len(orphans)} rows refer to missing rows'}")


def check_database(url: str) -> None:
    """Check the whole database: SQLite by its integrity checks, Postgres by reading every row; raises Damaged."""
    file = sqlite_file(url)
    if file is not None:
        check_sqlite(file)
    else:
        asyncio.run(_read_postgres(url))


def count_sqlite(file: Path) -> dict[str, int]:
    """Count the rows of each of our tables that exists."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        existing = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {name: connection.execute(_count(name)).fetchone()[0] for name in our_tables() if name in existing}
    finally:
        connection.close()


def erasures_of_sqlite(file: Path) -> tuple[ErasureEntry, ...]:
    """Read the list of erasures; empty for a database of an older version."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        rows = connection.execute(_ERASURES).fetchall()
    except sqlite3.OperationalError:
        return ()
    finally:
        connection.close()
    return _entries([(id_, digest, datetime.fromisoformat(at)) for id_, digest, at in rows])


def count_tables(connection: Connection) -> dict[str, int]:
    """Count the rows of each of our tables that exists, over any connection."""
    existing = set(inspect(connection).get_table_names())
    return {name: int(connection.execute(text(_count(name))).scalar_one()) for name in our_tables() if name in existing}


def read_erasures(connection: Connection) -> tuple[ErasureEntry, ...]:
    """Read the list of erasures over a connection to Postgres."""
    if "erasures" not in inspect(connection).get_table_names():
        return ()
    return _entries(connection.execute(text(_ERASURES)).all())


async def _read_postgres(url: str) -> None:
    """Read all values of our tables, also those that are stored apart from their rows; pg_restore has checked keys."""
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            for table in await connection.run_sync(count_tables):
                await connection.execute(text(f'SELECT sum(length(t::text)) FROM "{table}" t'))  # noqa: S608 - as in `_count`
    except exc.DBAPIError as problem:
        raise Damaged(f"the database: {problem.orig}") from None
    finally:
        await engine.dispose()


async def _take_postgres(url: str, folder: Path, postgres_bin: Path | None) -> Snapshot:
    target = folder / POSTGRES_DUMP
    target.parent.mkdir(parents=True, exist_ok=True)
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            snapshot = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
            schema = (await connection.execute(text("SELECT current_schema()"))).scalar_one()
            tables = await connection.run_sync(count_tables)
            erasures = await connection.run_sync(read_erasures)
            named = [f'--table="{schema}"."{name}"' for name in tables]
            flags = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={target}"]
            await asyncio.to_thread(postgres_tools.run, "pg_dump", [*flags, *named], url, postgres_bin)
    finally:
        await engine.dispose()
    return Snapshot("postgresql", POSTGRES_DUMP, tables, erasures)


def _entries(rows: Sequence[Any]) -> tuple[ErasureEntry, ...]:
    aware = ((id_, digest, at if at.tzinfo else at.replace(tzinfo=UTC)) for id_, digest, at in rows)
    return tuple(ErasureEntry(id=id_, digest=digest, at=at) for id_, digest, at in aware)


def _count(table: str) -> str:
    return f'SELECT count(*) FROM "{table}"'  # noqa: S608 - the name is one of our tables'


def erasures_now(url: str) -> tuple[ErasureEntry, ...]:
    """Read the current list of erasures; empty if there is no database. Raises Damaged if a file cannot be read."""
    file = sqlite_file(url)
    if file is not None:
        try:
            return erasures_of_sqlite(file) if file.exists() else ()
        except sqlite3.DatabaseError as problem:
            remedy = "move it away to restore without the deletions that only it knows"
            raise Damaged(f"the list of erasures in {file} cannot be read ({problem}): {remedy}") from None
    return asyncio.run(_postgres_erasures(url))


async def _postgres_erasures(url: str) -> tuple[ErasureEntry, ...]:
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(read_erasures)
    finally:
        await engine.dispose()
