import asyncio

from alembic import context
from sqlalchemy import Connection

from storage.database import open_engine
from storage.every_table import metadata


def run(connection: Connection) -> None:
    # batch: SQLite cannot alter most of a table, alembic then copies it.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
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
