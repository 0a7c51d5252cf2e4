"""The journal: what was written is read back whatever happened to the process, the disk or the file."""

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.ledger.write_ahead_log import HEADER_BYTES, WriteAheadLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal goes."""
    return tmp_path / "ledger/boot.journal"


def record(number: int) -> dict[str, Any]:
    """Return something to write, with characters that a careless format would trip over."""
    return {"id": str(number), "text": "line\nbreak \x00 বন্ধু"}


def write(path: Path, numbers: range) -> None:
    """Make a journal of a process that is dead."""
    journal = WriteAheadLog.create(path)
    for number in numbers:
        journal.append(record(number))
    journal.close()


def read(path: Path) -> list[dict[str, Any] | None]:
    """Claim the journal and return its records; a damaged line is None."""
    journal = WriteAheadLog.claim(path)
    assert journal is not None
    records = [line.record for line in journal.lines()]
    journal.close()
    return records


@contextmanager
def disk_with_room_for(size_bytes: int) -> Iterator[None]:
    """No file of this process may be longer: the kernel cuts writes short, then refuses them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_written_is_read_back_in_order(path: Path) -> None:
    """Every record, from the start or from any line on; the files are the owner's only."""
    write(path, range(5))
    assert read(path) == [record(number) for number in range(5)]
    journal = WriteAheadLog.claim(path)
    assert journal is not None
    ends = [line.end for line in journal.lines()]
    assert [line.record for line in journal.lines(ends[2])] == [record(3), record(4)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_torn_last_line_costs_only_itself(path: Path) -> None:
    """Wherever the write broke off, all lines before it are there and nothing is made up."""
    write(path, range(3))
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole)):
        path.write_bytes(whole[:length])
        assert read(path) == [record(0), record(1)]


def test_a_damaged_line_costs_only_itself(path: Path) -> None:
    """One flipped bit anywhere in a line is noticed; its neighbours are read."""
    write(path, range(3))
    whole = path.read_bytes()
    first = whole.index(b"\n", HEADER_BYTES) + 1
    for position in range(first, whole.index(b"\n", first)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x20
        path.write_bytes(damaged)
        found = read(path)
        assert found[0] == record(0)
        assert found[-1] == record(2)
        assert record(1) not in found


def test_a_damaged_header_settles_nothing(path: Path) -> None:
    """Without a readable mark everything is replayed: twice is harmless, never is not."""
    write(path, range(2))
    journal = WriteAheadLog.claim(path)
    assert journal is not None
    journal.settle(journal.size_bytes)
    journal.close()
    content = bytearray(path.read_bytes())
    content[12] ^= 0x01
    path.write_bytes(content)
    journal = WriteAheadLog.claim(path)
    assert journal is not None
    assert journal.settled == HEADER_BYTES


def test_a_journal_is_claimed_only_from_the_dead_and_only_once(path: Path) -> None:
    """Neither by another process nor by its own while it lives; afterwards by exactly one."""
    owner = WriteAheadLog.create(path)
    claim = f"from serving.ledger.write_ahead_log import *; print(WriteAheadLog.claim(Path({str(path)!r})) is not None)"
    assert WriteAheadLog.claim(path) is None
    assert subprocess.check_output([sys.executable, "-c", claim], text=True).strip() == "False"
    owner.close()
    heir = WriteAheadLog.claim(path)
    assert heir is not None
    assert WriteAheadLog.claim(path) is None
    heir.remove()
    heir.close()
    assert WriteAheadLog.claim(path) is None
    assert not path.exists()


def test_what_is_settled_stays_settled(path: Path) -> None:
    """The mark survives the process."""
    journal = WriteAheadLog.create(path)
    journal.append(record(0))
    journal.settle(journal.size_bytes)
    journal.append(record(1))
    journal.close()
    heir = WriteAheadLog.claim(path)
    assert heir is not None
    assert [line.record for line in heir.lines(heir.settled)] == [record(1)]
    assert not heir.is_settled


def test_a_full_disk_is_reported_and_leaves_no_partial_line(path: Path) -> None:
    """The record that did not fit is not there, those before and those written once there is room again are."""
    journal = WriteAheadLog.create(path)
    journal.append(record(0))
    for room in range(1, 20):
        with disk_with_room_for(journal.size_bytes + room), pytest.raises(OSError, match=r"No space|too large"):
            journal.append(record(1))
    assert path.stat().st_size > journal.size_bytes, "the kernel took a part of it"
    assert [line.record for line in journal.lines()] == [record(0)]
    journal.append({})
    assert [line.record for line in journal.lines()] == [record(0), {}]
    journal.close()
    assert read(path) == [record(0), {}]


def test_shrinking_keeps_what_is_asked_for_and_what_is_not_settled(path: Path) -> None:
    """Settled lines go, the rest stays and can be added to; the lock is held throughout."""
    journal = WriteAheadLog.create(path)
    for number in range(100):
        journal.append(record(number))
    journal.settle(list(journal.lines())[97].end)
    before = journal.size_bytes
    journal.shrink([record(5)])
    assert journal.size_bytes < before / 10
    assert journal.size_bytes == path.stat().st_size
    assert WriteAheadLog.claim(path) is None
    journal.append(record(100))
    journal.close()
    assert read(path) == [record(number) for number in (5, 98, 99, 100)]


def test_shrinking_to_nothing_leaves_an_empty_journal(path: Path) -> None:
    """All is settled and nothing is kept: only the header is left, and it counts from there."""
    journal = WriteAheadLog.create(path)
    journal.append(record(0))
    journal.settle(journal.size_bytes)
    journal.shrink([])
    assert path.stat().st_size == journal.size_bytes == journal.settled == HEADER_BYTES
    journal.append(record(1))
    assert [line.record for line in journal.lines(journal.settled)] == [record(1)]


def test_a_shrink_that_the_disk_refuses_changes_nothing(path: Path) -> None:
    """The old file stays the journal and goes on."""
    journal = WriteAheadLog.create(path)
    for number in range(3):
        journal.append(record(number))
    with disk_with_room_for(HEADER_BYTES), pytest.raises(OSError, match="too large"):
        journal.shrink([record(0)])
    journal.append(record(3))
    assert WriteAheadLog.claim(path) is None
    journal.close()
    assert read(path) == [record(number) for number in range(4)]


async def test_syncing_while_the_file_is_replaced_does_no_harm(path: Path) -> None:
    """The descriptor that is synced is the syncer's own, and none is left open."""
    journal = WriteAheadLog.create(path)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        journal.append(record(number))
        syncing = asyncio.create_task(journal.sync())
        await asyncio.sleep(0)  # its thread has the descriptor now
        journal.settle(journal.size_bytes)
        journal.shrink([record(number)])
        await syncing
    assert len(os.listdir("/proc/self/fd")) == before
    assert [line.record for line in journal.lines()] == [record(19)]
