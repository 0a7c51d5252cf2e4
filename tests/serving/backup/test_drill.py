"""The drill: what is backed up while the service works comes back whole, on both databases, or not at all."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from serving.backup import archive
from serving.backup.errors import BackupError, Damaged, Locked, Running
from serving.backup.make import make
from serving.backup.verify import verify
from serving.ledger.write_ahead_log import WriteAheadLog
from storage import migrate
from tests.support.backup_house import ANN, BEN, NOW, POSTGRES_BIN, House, Past

IDENTITY, RECIPIENT = archive.new_identity()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where backups go."""
    return tmp_path / "backups"


@pytest.fixture
async def house(tmp_path: Path, url: str) -> House:
    """Return a machine with a past, on each database."""
    (tmp_path / "house").mkdir()
    made = House(tmp_path / "house", None if url.startswith("sqlite") else url)
    await made.fill("aardvark")
    return made


async def other(house: House, tmp_path: Path) -> House:
    """Return an empty machine; on Postgres the server's database, emptied."""
    (tmp_path / "other").mkdir()
    if house.url.startswith("sqlite"):
        return House(tmp_path / "other")
    await asyncio.to_thread(migrate.downgrade, house.url)
    return House(tmp_path / "other", house.url)


async def test_an_empty_machine_becomes_the_same(house: House, folder: Path, tmp_path: Path) -> None:
    """Recall, ledger sums, keys, secrets, applied document, audit log, adapter, configuration."""
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    before = await house.picture()
    assert len(before["recalled"]["ann"]) == 3
    assert [(row["requests"], row["completion_tokens"]) for row in before["sums"]] == [(4, 27)]
    assert (await asyncio.to_thread(verify, file, [IDENTITY], postgres_bin=POSTGRES_BIN)).tables["messages"] == 4
    new = await other(house, tmp_path)
    await asyncio.to_thread(new.restore, file, IDENTITY)
    assert await new.picture() == before
    assert (new.var / "secrets.env").stat().st_mode & 0o077 == 0
    assert not (new.var / "restore").exists()
    assert os.listdir(folder) == [file.name]


async def test_it_is_consistent_while_others_write(house: House, folder: Path, tmp_path: Path) -> None:
    """Of each person who speaks meanwhile all that belongs together is there, and every request that had ended."""
    stop, two_are_there = asyncio.Event(), asyncio.Event()
    done = 0

    async def write() -> None:
        nonlocal done
        while not stop.is_set():
            await house.speak(ANN, f"word{done}")
            await house.serve(f"worker{done}", 2)
            done += 1
            if done == 2:
                two_are_there.set()

    writer = asyncio.create_task(write())
    await two_are_there.wait()
    ended = done
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    stop.set()
    await writer
    new = await other(house, tmp_path)
    await asyncio.to_thread(new.restore, file, IDENTITY)
    picture = await new.picture()
    (row,) = picture["sums"]
    assert row["requests"] >= 4 + 3 * ended
    assert row["completion_tokens"] >= 27 + 18 * ended
    for number in range(ended):
        found = [text for text in await new.recall(ANN, f"word{number}") if f"word{number}" in text.split()]
        assert len(found) >= 3


async def test_who_was_forgotten_stays_forgotten(house: House, folder: Path) -> None:
    """A person, a conversation and a memory are not brought back by a backup of before; all others are."""
    await house.speak(BEN, "buffalo")
    await house.speak(BEN, "cormorant")
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    async with Past(house) as past:
        await past.forgetter.everything(ANN)
        await past.forgetter.conversation(BEN, "about the buffalo")
        await past.forgetter.memory(BEN, "has cormorant")
    done = await asyncio.to_thread(house.restore, file, IDENTITY)
    assert done.forgotten == 3
    assert await house.recall(ANN, "My aardvark") == []
    texts = set(await house.recall(BEN, "My"))
    assert texts == {"Has a aardvark", "My aardvark 0", "My aardvark 1", "My cormorant 0", "My cormorant 1"}
    again = await asyncio.to_thread(house.restore, file, IDENTITY)
    assert again.forgotten == 3
    assert await house.recall(ANN, "My aardvark") == []


async def test_an_empty_machine_forgets_what_the_list_names(house: House, folder: Path, tmp_path: Path) -> None:
    """Where only the list got away before the machine was lost; a list that cannot be read stops the restore."""
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    async with Past(house) as past:
        await past.forgetter.everything(ANN)
    list_file = await asyncio.to_thread(house.backup, folder, RECIPIENT, erasures=True)
    new = await other(house, tmp_path)
    whole = list_file.read_bytes()
    list_file.write_bytes(whole[:-100])
    with pytest.raises(Damaged):
        await asyncio.to_thread(new.restore, file, IDENTITY)
    list_file.write_bytes(whole)
    await asyncio.to_thread(new.restore, file, IDENTITY)
    assert await new.recall(ANN, "My aardvark") == []
    assert len(await new.recall(BEN, "My aardvark")) == 3


async def test_who_came_back_stays(house: House, folder: Path) -> None:
    """Somebody who was forgotten and then spoke again has, in a backup of after that, what they said since."""
    async with Past(house) as past:
        await past.forgetter.everything(ANN)
    await house.speak(ANN, "dodo")
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    done = await asyncio.to_thread(house.restore, file, IDENTITY)
    assert done.forgotten == 0
    assert set(await house.recall(ANN, "My")) == {"Has a dodo", "My dodo 0", "My dodo 1"}


def harmed(content: bytes) -> dict[str, bytes]:
    """Return it, damaged in every way."""

    def flipped(at: int) -> bytes:
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return {
        "first byte": flipped(0),
        "a byte in the middle": flipped(len(content) // 2),
        "last byte": flipped(len(content) - 1),
        "cut": content[: len(content) // 2],
        "the last byte cut": content[:-1],
        "empty": b"",
        "not ours": b"PK" + bytes(2000),
    }


async def test_a_damaged_backup_is_reported_and_changes_nothing(house: House, folder: Path) -> None:
    """By --verify and by restore, wherever it is damaged."""
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    before = await house.picture()
    for harm, content in harmed(file.read_bytes()).items():
        file.write_bytes(content)
        with pytest.raises(Damaged):
            await asyncio.to_thread(verify, file, [IDENTITY], postgres_bin=POSTGRES_BIN)
        with pytest.raises(Damaged):
            await asyncio.to_thread(house.restore, file, IDENTITY)
        assert not (house.var / "restore").exists(), harm
    assert await house.picture() == before


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_another_identity_opens_nothing(house: House, folder: Path) -> None:
    """And none of the content is in the file; without a recipient there is no backup."""
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    assert b"aardvark" not in file.read_bytes()
    stranger, _ = archive.new_identity()
    with pytest.raises(Locked):
        await asyncio.to_thread(verify, file, [stranger])
    with pytest.raises(Locked):
        await asyncio.to_thread(house.restore, file, stranger)
    with pytest.raises(BackupError, match="no recipient"):
        await asyncio.to_thread(make, house.settings, folder, [], now=NOW)
    assert os.listdir(folder) == [file.name]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_service_that_runs_is_not_restored(house: House, folder: Path) -> None:
    """A gateway holds its journal."""
    file = await asyncio.to_thread(house.backup, folder, RECIPIENT)
    journal = WriteAheadLog.create(house.var / "ledger/lives.journal")
    with pytest.raises(Running):
        await asyncio.to_thread(house.restore, file, IDENTITY)
    journal.close()
    shutil.rmtree(house.var / "ledger")
    await asyncio.to_thread(house.restore, file, IDENTITY)
