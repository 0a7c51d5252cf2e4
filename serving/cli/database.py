"""The database as a command of `bondhu` uses it: brought up to date, opened, asked once, closed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from serving.cli.console import settings_or_exit
from serving.config.addresses import database_url

if TYPE_CHECKING:  # imported where used: every other command starts without the SQL toolkit
    from sqlalchemy.ext.asyncio import AsyncEngine

Answer = TypeVar("Answer")


def with_database(ask: Callable[["AsyncEngine"], Awaitable[Answer]]) -> Answer:
    """Return what `ask` answers; leaves with code 2 when the configuration is wrong."""
    from storage import migrate
    from storage.database import open_engine

    settings = settings_or_exit()
    settings.var_dir.mkdir(parents=True, exist_ok=True)
    url = database_url(settings)
    migrate.upgrade(url)

    async def run() -> Answer:
        engine = open_engine(url)
        try:
            return await ask(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())
