"""Runs one database operation for a command: migrates, opens, runs, closes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from serving.cli.console import settings_or_exit
from serving.config.addresses import database_url

if TYPE_CHECKING:  # imported where used, so that other commands start without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")


def with_database(query: Callable[["AsyncEngine"], Awaitable[Result]]) -> Result:
    """Return the result of `query`; exits with code 2 if the configuration is invalid."""
    from storage import migrate
    from storage.database import open_engine

    settings = settings_or_exit()
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    url = database_url(settings)
    migrate.upgrade(url)

    async def run() -> Result:
        engine = open_engine(url)
        try:
            return await query(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())
