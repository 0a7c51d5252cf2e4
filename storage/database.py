"""Connections: one pool per process, SQLite tuned for several processes that read and write at once."""

from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage import sqlite_driver
from storage.postgres_url import PLACES, connect_arguments

BUSY_TIMEOUT_MS = 10_000
# Errors of a pool while the database is unavailable: drivers do not wrap all errors of connecting.
AWAY = (exc.DBAPIError, exc.TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Pool:
    """The sizes of a pool of connections to Postgres, and the maximum wait for a connection; `min_size` stay open."""

    min_size: int = 2
    max_size: int = 10
    timeout_s: float = 30.0


def open_engine(url: str, pool: Pool = Pool()) -> AsyncEngine:
    """Open a pool on `url` (sqlite+aiosqlite:// or postgresql+asyncpg://); connects when first used.

    It works with PgBouncer in transaction mode: prepared statements have no name, so that none outlives its transaction
    on a server connection that the next transaction may not get.

    Dispose of it (`await engine.dispose()`) when done. A database that cannot be reached raises
    one of `AWAY` at first use. Raises UnknownParameter.
    """
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return create_async_engine(
            address.set(query={name: value for name, value in address.query.items() if name in PLACES}),
            pool_pre_ping=True,
            pool_size=pool.min_size,
            max_overflow=pool.max_size - pool.min_size,
            pool_timeout=pool.timeout_s,
            connect_args={
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": str,  # called, it makes the empty name
                **connect_arguments(address.query),
            },
        )
    engine = create_async_engine(url, connect_args={"async_creator_fn": sqlite_driver.connect})
    event.listen(engine.sync_engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # Readers do not wait for the writer; a writer waits its turn instead of failing at once.
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.close()


def upsert(table: type[Any], dialect: str) -> postgresql.Insert | sqlite.Insert:
    """An insert into `table` in the database's dialect, which can say what happens on a conflict."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
