"""A restore that is killed at any of its steps leaves the old state or the new one."""

import asyncio
import multiprocessing
import signal
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pytest

from serving.backup import archive
from serving.backup.restore import resume
from tests.support.backup_house import NOW, House, restore_and_die

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["aiosqlite", "asyncpg", "faiss", "pydantic", "sqlalchemy.ext.asyncio"])  # once, not each


async def kill_at(url: str, folder: Path, moments: Iterable[int]) -> list[bool]:
    """Restore over another state, killed after each of these steps; return for each whether it had been decided."""
    identity, recipient = archive.new_identity()
    target_url = None if url.startswith("sqlite") else url
    house = House(folder, target_url)
    await house.fill("aardvark")
    first = await asyncio.to_thread(house.backup, folder / "first", recipient)
    await house.fill("buffalo")
    second = await asyncio.to_thread(house.backup, folder / "second", recipient)
    new = await house.picture()
    await asyncio.to_thread(house.restore, first, identity)
    old = await house.picture()
    assert old != new
    seen = []
    for moment in moments:
        await asyncio.to_thread(house.restore, first, identity)
        steps = folder / "steps"
        process = FORK.Process(target=restore_and_die, args=(folder, target_url, second, identity, moment, steps))
        process.start()
        await asyncio.to_thread(process.join)
        reached = steps.read_text().splitlines()
        await asyncio.to_thread(resume, house.settings, now=NOW)
        seen.append("decided" in reached)
        assert await house.picture() == (new if seen[-1] else old), reached
        assert not (house.var / "restore").exists()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    return seen


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_restore_that_is_killed_around_its_decision_is_all_or_nothing(url: str, tmp_path: Path) -> None:
    """Before it the old state, from then on the new one, once it was resumed."""
    assert await kill_at(url, tmp_path, (2, 3, 5)) == [False, True, True]


@pytest.mark.slow
async def test_a_killed_restore_is_all_or_nothing(url: str, tmp_path: Path) -> None:
    """At every step, on each database."""
    seen = await kill_at(url, tmp_path, count())
    assert seen.count(False) >= 2
    assert seen.count(True) >= 8
