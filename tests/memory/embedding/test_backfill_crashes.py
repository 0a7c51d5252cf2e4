"""A worker that is killed at any step of changing the embedding model: the next run finishes, and nothing is lost."""

import asyncio
import multiprocessing
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from memory.embedding.backfill import Backfill, Known
from storage.memory import erasure
from storage.memory.tables import Embedding
from storage.memory.vectors.embeddings import Space, find_unembedded
from storage.memory.vectors.spaces import count_embedded
from tests.support.memory.crash_steps import ANN, BEN, DAY, Workplace, reembed, run
from tests.support.memory.word_embedder import WordEmbedder

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["aiosqlite", "asyncpg", "faiss", "pydantic", "sqlalchemy.ext.asyncio"])
OLD, PRESENT, NEXT = (Space("words", revision) for revision in "012")
ITEMS = 20


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a migrated database of each kind without rows."""
    from storage import migrate

    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    if request.param == "postgres":
        url = str(request.getfixturevalue("postgres").url)
        migrate.downgrade(url)
    migrate.upgrade(url)
    return url


async def prepare(url: str) -> None:
    """Give both people the same past again, with all vectors of the old space, and of the present one all but two."""
    workplace = Workplace(url)
    await erasure.erase(workplace.engine, "app")
    await workplace.prepare()
    older = Backfill(workplace.engine, Known(), now=lambda: DAY, clock=lambda: 0.0, ends_s=1.0, sleep=asyncio.sleep)
    await older.run(workplace.embedder, WordEmbedder("0"))
    async with workplace.engine.begin() as connection:
        first = Embedding.item_id == "plain"
        await connection.execute(ANN.delete(Embedding).where(first, Embedding.revision == PRESENT.revision))
        await connection.execute(BEN.delete(Embedding).where(first, Embedding.revision == PRESENT.revision))
    assert await count_embedded(workplace.engine) == {OLD: ITEMS, PRESENT: ITEMS - 2}
    await workplace.close()


async def finish(url: str) -> tuple[int, ...]:
    """Look at what there is, go on as the next run does, and see that it is whole; return how far it had come."""
    workplace = Workplace(url)
    had = await count_embedded(workplace.engine)
    if had.get(OLD, 0) < ITEMS:
        assert had[PRESENT] == ITEMS, "the old ones go only when the present space is complete"
    workplace.embedder.is_away = True  # else recall would make up for what is missing
    for owner in (ANN, BEN):
        found = await workplace.store.recall(owner, "Turn quoted plain", limit=50)
        assert len(found) == 8
    workplace.embedder.is_away = False
    await reembed(workplace)
    assert await count_embedded(workplace.engine) == {PRESENT: ITEMS, NEXT: ITEMS}
    for owner in (ANN, BEN):
        for space in (PRESENT, NEXT):
            assert await find_unembedded(workplace.engine, owner, space, limit=9) == []
    async with workplace.engine.connect() as connection:
        rows = (await connection.execute(select(func.count()).select_from(Embedding))).scalar_one()
    assert rows == 2 * ITEMS
    await workplace.close()
    return (had.get(PRESENT, 0), had.get(NEXT, 0), -had.get(OLD, 0))


def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(database: str, tmp_path: Path) -> None:
    """At every statement and around every commit; recall serves at once afterwards, and the next run completes."""
    acknowledged = tmp_path / "acknowledged"
    reached: list[Any] = []
    for moment in count():
        asyncio.run(prepare(database))
        process = FORK.Process(target=run, args=(database, "re-embed", moment, acknowledged))
        process.start()
        process.join()
        reached.append(asyncio.run(finish(database)))
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert not acknowledged.exists()
    assert acknowledged.exists()
    assert reached[0] == (ITEMS - 2, 0, -ITEMS)
    assert reached[-1] == (ITEMS, ITEMS, 0)
    assert reached == sorted(reached), "a later kill has come further"
    # After each portion of the present, of the next, and of what is deleted: each is all or nothing.
    assert len(set(reached)) == 11
