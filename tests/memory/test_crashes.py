"""A process that is killed at any step of any operation leaves all of it or nothing; what it acknowledged is there."""

import asyncio
import multiprocessing
import shutil
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from storage import migrate
from storage.memory import erasure
from storage.memory.export import MovedMemory, read_history
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from tests.support.memory.crash_steps import ANN, BEN, OPERATIONS, Workplace, run
from tests.support.memory.records import read_progress

QUICK = {
    "append",
    "supersede",
    "mark",
    "delete a message",
    "delete a conversation",
    "forget a person",
}  # the others are as others of these
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["aiosqlite", "asyncpg", "faiss", "pydantic", "sqlalchemy.ext.asyncio"])  # once, not each


class Sqlite:
    """A database in a file, of which a copy is kept."""

    def __init__(self, folder: Path) -> None:
        self._path, self._kept = folder / "bondhu.db", folder / "kept.db"
        self.url = f"sqlite+aiosqlite:///{self._path}"

    def keep(self) -> None:
        """Keep what there is."""
        shutil.copy(self._path, self._kept)

    async def reset(self) -> None:
        """Bring back what was kept."""
        for old in self._path.parent.glob("bondhu.db*"):
            old.unlink()
        shutil.copy(self._kept, self._path)


class Postgres:
    """A database of a server, whose rows are kept in tables of their own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def keep(self) -> None:
        """Keep nothing: `reset` makes it anew."""

    async def reset(self) -> None:
        """Bring back what was prepared."""
        workplace = Workplace(self.url)
        await erasure.erase(workplace.engine, "app")
        await workplace.prepare()
        await workplace.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Sqlite | Postgres:
    """Return a migrated, prepared database of each kind."""
    if request.param == "sqlite":
        made: Sqlite | Postgres = Sqlite(tmp_path)
    else:
        made = Postgres(request.getfixturevalue("postgres").url)
        migrate.downgrade(made.url)
    migrate.upgrade(made.url)
    asyncio.run(prepare(made.url))
    made.keep()
    return made


async def prepare(url: str) -> None:
    """Give both people their past."""
    workplace = Workplace(url)
    await workplace.prepare()
    async with workplace.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            await connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    await workplace.close()


async def words(url: str) -> dict[Owner, Any]:
    """Return what both have, in words, once it is seen that recall has the same."""
    workplace = Workplace(url)
    found = {owner: await of(workplace, owner) for owner in (ANN, BEN)}
    await check_recall(workplace)
    await workplace.close()
    return found


async def of(workplace: Workplace, owner: Owner) -> Any:
    """Return all that somebody has but for ids and versions that are drawn anew."""
    history = await read_history(workplace.engine, owner)
    turns = {
        name: [(each.external_id, each.text) for each in messages] for name, messages in history.conversations.items()
    }
    memories = {name(each): (each.text, marks(each), each.superseded_by, each.quote) for each in history.memories}
    return (turns, memories, history.profile)


def name(memory: MovedMemory) -> str:
    """Return what tells it from others: its id, or its quote or text where an id is drawn."""
    if "former-" in memory.id:
        return f"{memory.id[:-16]}{memory.text}"
    return f"muted {memory.quote}" if memory.muted else memory.id


def marks(memory: NewMemory) -> tuple[object, ...]:
    """Return what a memory is marked with."""
    return memory.pinned, memory.painful_at, memory.muted, memory.persona


async def check_recall(workplace: Workplace) -> None:
    """What is recalled is what SQL has, after the first read by its vectors; marks move turns and memories."""
    for owner in (ANN, BEN):
        turns, memories, _ = await of(workplace, owner)
        painful = {text for words, (_, at, *_), _, quote in memories.values() if at for text in (words, quote)}
        muted = {
            text for words, (_, _, is_muted, _), _, quote in memories.values() if is_muted for text in (words, quote)
        }
        expected = [texts for each in turns.values() for _, texts in each]
        expected += [
            text
            for name, (text, (*_, persona), superseded, _) in memories.items()
            if superseded is None and persona is None and "former-" not in name
        ]
        expected = [each for each in expected if each not in muted]
        for _ in range(2):
            found = await workplace.store.recall(owner, "Turn quoted plain new edited", limit=50)
            assert sorted(each.record.text for each in found) == sorted(expected)
            assert {each.record.text for each in found if each.ranked.factors["painful"] < 1} == painful
        assert all({"single", "window"} <= set(each.ranked.by_ranker) for each in found)
        progress = await read_progress(workplace.engine, owner, workplace.embedder.space)
        assert progress.embedded == progress.items
    counts = await erasure.count(workplace.engine, "app")
    assert counts["embeddings"] == counts["messages"] + counts["memories"]
    turns, _, _ = await of(workplace, ANN)
    assert counts["given"] == sum(name in ("m7", "m20") for texts in turns.values() for name, _ in texts), (
        "with the reply"
    )


@pytest.mark.parametrize(
    "operation", [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in OPERATIONS]
)
def test_a_kill_leaves_all_or_nothing(database: Sqlite | Postgres, operation: str, tmp_path: Path) -> None:
    """At every moment of every write: before or after, never between; after, when it was acknowledged."""
    acknowledged = tmp_path / "acknowledged"
    asyncio.run(database.reset())
    before = asyncio.run(words(database.url))
    killed: list[Any] = []
    for moment in count():
        asyncio.run(database.reset())
        process = FORK.Process(target=run, args=(database.url, operation, moment, acknowledged))
        process.start()
        process.join()
        after = asyncio.run(words(database.url))
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert not acknowledged.exists()
        killed.append(after)
    assert acknowledged.exists()
    assert after != before
    assert len(killed) >= 4
    assert killed[0] == before
    assert killed[-1] == after
    for each in killed:
        assert each in (before, after)
