"""A worker that is killed at any step of any kind of job: the next one leaves what one alone would have left."""

import asyncio
import multiprocessing
import signal
from datetime import date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from storage import migrate
from storage.database import open_engine
from storage.tables import Base
from tests.jobs.steps import KINDS, LATER, NOW, prepare, run, work

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["aiosqlite", "asyncpg", "numpy", "aiohttp", "tests.jobs.steps"])  # once, not each
PASSING = {"jobs": {"attempts", "error", "id", "due_at", "created_at", "updated_at"}}
IDS = {  # random, or made of the job's
    "playlist_changes": {"key"},
    "people": {"era"},
    "conversations": {"id"},
    "messages": {"id", "conversation_id"},
    "memories": {"id"},
    "memory_sources": {"memory_id", "message_id"},
}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    return str(request.getfixturevalue("postgres").url)


def fresh(url: str) -> None:
    """Migrate it, with nothing in it but what there is to do."""

    async def fill() -> None:
        engine = open_engine(url)
        async with engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                await connection.execute(delete(table))
        await prepare(engine)
        await engine.dispose()

    migrate.upgrade(url)
    asyncio.run(fill())


def whole(url: str) -> dict[str, list[Any]]:
    """All that the database has, without what a second attempt may leave otherwise."""

    async def read() -> dict[str, list[Any]]:
        engine = open_engine(url)
        found = {}
        async with engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                left_out = PASSING.get(table.name, set()) | IDS.get(table.name, set())
                columns = [column for column in table.columns if column.name not in left_out]
                rows = [dict(row._mapping) for row in await connection.execute(select(*columns))]
                for row in rows:  # which videos come up depends on the job's random id, how many does not
                    if row.get("name") == "prepared":
                        row["value"] = len(row["value"]["items"])
                    if row.get("name") == "messages":  # of an inbox: when it was made differs
                        row["value"] = [each["id"] for each in row["value"]["messages"]]
                    if row.get("result") and row.get("kind") == "summarise":  # its id is made of the turns'
                        row["result"] = row["result"] | {"memory": None}
                found[table.name] = sorted(repr({name: _bare(value) for name, value in row.items()}) for row in rows)
        await engine.dispose()
        return found

    return asyncio.run(read())


def _bare(value: Any) -> Any:
    """Without the times that an attempt an hour later has."""
    if isinstance(value, datetime) and value in (NOW, LATER):
        return "now"
    if isinstance(value, date) or value is None:
        return value
    return {name: each for name, each in value.items() if name != "at"} if isinstance(value, dict) else value


def do(url: str, kind: str, later: bool = False) -> None:
    """Do it here; or what another worker finds to do an hour later."""

    async def alone() -> None:
        engine = open_engine(url)
        if later:
            await work(engine, kind, now=LATER)
        else:
            await work(engine, kind)
        await engine.dispose()

    asyncio.run(alone())


@pytest.mark.parametrize(
    ("kind", "step"), [("playlists", 7), *(pytest.param(kind, 1, marks=pytest.mark.slow) for kind in KINDS)]
)
def test_a_kill_anywhere_changes_nothing_in_the_end(url: str, kind: str, step: int) -> None:
    """At every statement (or every so many) and around every commit; beginning anew in the same slot adds nothing."""
    fresh(url)
    do(url, kind)
    once = whole(url)
    assert all("'state': 'done'" in job for job in once["jobs"])
    assert once["jobs"]
    for moment in count(step=step):
        fresh(url)
        process = FORK.Process(target=run, args=(url, kind, moment))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        do(url, kind, later=True)
        assert comparable(whole(url)) == comparable(once), f"moment {moment}"
    assert moment >= 8


def comparable(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What is compared: which songs come up depends on the job's random id, how many does not."""
    return {
        name: rows if name not in ("playlists", "playlist_changes") else [len(rows)] for name, rows in found.items()
    }
