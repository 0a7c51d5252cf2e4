"""The migrations make the tables that the code declares."""

import asyncio
import subprocess
import sys
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import migrate
from storage.agents import tables as agent_tables
from storage.database import open_engine
from storage.media import tables as media_tables
from storage.memory import tables
from storage.tables import Base

TABLES = (agent_tables.AgentState, media_tables.Playlist, tables.Person)  # of every module that declares some


async def test_migrations_and_tables_agree(url: str) -> None:
    """In each database."""
    await asyncio.to_thread(migrate.upgrade, url)
    engine: AsyncEngine = open_engine(url)

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_one_module_knows_every_table(url: str) -> None:
    """Whatever backs up, or compares, the database as a whole: in a process that has imported nothing else."""
    await asyncio.to_thread(migrate.upgrade, url)
    code = "from storage.every_table import names; print(*names())"
    known = await asyncio.to_thread(subprocess.check_output, [sys.executable, "-c", code], text=True)
    engine: AsyncEngine = open_engine(url)
    async with engine.connect() as connection:
        there = await connection.run_sync(lambda connection: set(inspect(connection).get_table_names()))
    await engine.dispose()
    assert set(known.split()) == there - {"alembic_version"}
