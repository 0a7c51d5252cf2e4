"""After every restore the database is checked where it is then: what the disk spoils meanwhile is told."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from serving.backup import archive
from serving.backup.errors import Damaged
from serving.backup.restore import resume
from serving.backup.snapshot import check_database
from storage.database import open_engine
from tests.support.backup_house import NOW, House
from tests.support.databases.postgres_server import PostgresServer

IDENTITY, RECIPIENT = archive.new_identity()
PAGE_BYTES = 8192  # of Postgres


def spoil(file: Path) -> None:
    """Have the disk lose what one table of SQLite's has."""
    with sqlite3.connect(file) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as content:
        content.seek((page - 1) * size)
        content.write(b"\xff" * size)


def spoiling(file: Path, at: str) -> Callable[[str], None]:
    """What hears of the restore's steps, and spoils the file after this one."""

    def hear(step: str) -> None:
        if step == at:
            spoil(file)

    return hear


async def filled(folder: Path, url: str | None = None) -> House:
    """Return a machine with a past."""
    house = House(folder, url)
    await house.fill("aardvark")
    return house


async def test_what_the_disk_spoils_during_a_restore_is_reported(tmp_path: Path) -> None:
    """After the backup itself was found whole; the restore that follows brings everything back."""
    house = await filled(tmp_path)
    before = await house.picture()
    file = await asyncio.to_thread(house.backup, tmp_path / "backups", RECIPIENT)
    unpacked = house.var / "restore/unpacked/sql/bondhu.db"
    with pytest.raises(Damaged, match="everything was restored, but the database"):
        await asyncio.to_thread(house.restore, file, IDENTITY, report=spoiling(unpacked, "decided"))
    assert not (house.var / "restore").exists()
    await asyncio.to_thread(house.restore, file, IDENTITY)
    assert await house.picture() == before


async def test_a_restore_that_was_interrupted_is_checked_when_it_is_completed(tmp_path: Path) -> None:
    """By whatever completes it, such as the next `bondhu up`."""
    house = await filled(tmp_path)
    file = await asyncio.to_thread(house.backup, tmp_path / "backups", RECIPIENT)

    def interrupt(step: str) -> None:
        if step == "decided":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(house.restore, file, IDENTITY, report=interrupt)
    spoil(house.var / "restore/unpacked/sql/bondhu.db")
    with pytest.raises(Damaged, match="restore another backup"):
        await asyncio.to_thread(resume, house.settings, now=NOW)
    assert not await asyncio.to_thread(resume, house.settings, now=NOW), "nothing is left to complete"


async def test_a_database_that_cannot_be_read_is_not_just_replaced(tmp_path: Path) -> None:
    """Its list of erasures would be lost silently; moved away, it no longer stops the restore."""
    house = await filled(tmp_path)
    before = await house.picture()
    file = await asyncio.to_thread(house.backup, tmp_path / "backups", RECIPIENT)
    database = house.var / "bondhu.db"
    database.write_bytes(b"no database" * 1000)
    with pytest.raises(Damaged, match="move it away"):
        await asyncio.to_thread(house.restore, file, IDENTITY)
    database.unlink()
    await asyncio.to_thread(house.restore, file, IDENTITY)
    assert await house.picture() == before


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_postgres_is_read_to_the_last_row(url: str, postgres: PostgresServer, tmp_path: Path) -> None:
    """A page that the disk has lost is found, although nobody asked for what it has."""
    await filled(tmp_path, url)
    await asyncio.to_thread(check_database, url)
    engine = open_engine(url)
    async with engine.connect() as connection:
        where = (await connection.execute(text("SELECT pg_relation_filepath('messages')"))).scalar_one()
        await connection.execute(text("CHECKPOINT"))
    await engine.dispose()
    postgres.stop()
    pages = postgres.folder / "data" / where
    kept = pages.read_bytes()
    try:
        pages.write_bytes(b"\xff" * PAGE_BYTES + kept[PAGE_BYTES:])
        postgres.start()
        with pytest.raises(Damaged, match="invalid page"):
            await asyncio.to_thread(check_database, url)
    finally:
        postgres.stop()
        pages.write_bytes(kept)
        postgres.start()
