import asyncio

from alembic import context
from sqlalchemy import Connection

from storage import safety_counts  # noqa: F401 - their tables belong to the metadata
from storage.agents import tables as agent_tables  # noqa: F401 - their tables belong to the metadata
from storage.database import open_engine
from storage.media import tables as media_tables  # noqa: F401 - their tables belong to the metadata
from storage.memory import tables  # noqa: F401 - as above
from storage.tables import Base


def run(connection: Connection) -> None:
    # batch: SQLite cannot alter most of a table, alembic then copies it.
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_online() -> None:
    engine = open_engine(context.config.attributes["url"])
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(run_online())
