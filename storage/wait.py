"""Waits until a database has this version's tables: `BONDHU_DATABASE_URL=... python -m storage.wait SECONDS`.

A database that is ahead is accepted: a newer version has migrated it, in steps that are compatible with this one.
"""

import asyncio
import os
import sys
import time

from sqlalchemy.exc import SQLAlchemyError

from storage.database import open_engine
from storage.migrate import is_at_least

POLL_S = 1.0


async def is_prepared(url: str) -> bool:
    """Whether the tables exist; False also while the database is unreachable."""
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(is_at_least)
    except (SQLAlchemyError, OSError):
        return False
    finally:
        await engine.dispose()


def main() -> None:
    """Exit with 0 once they exist, with 1 after the timeout."""
    deadline = time.monotonic() + float(sys.argv[1])
    while not asyncio.run(is_prepared(os.environ["BONDHU_DATABASE_URL"])):
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
