"""A worker that is killed at any step of an extraction: the next one leaves what one alone would have left."""

import asyncio
import multiprocessing
import signal
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from extraction_steps import NOW, run, work
from gateway_process import free_port
from model_server import ModelServer, operation

from jobs.extraction import SEND_AGAIN
from storage import conversations, erasure, jobs, memories, migrate
from storage.conversations import NewMessage
from storage.database import open_engine
from storage.memories import NewMemory, Wanted
from storage.owner import Owner
from storage.unread import read_batch

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["extraction_steps", "openai.types.chat", "faiss"])  # once, not each
OPERATIONS = [
    operation("t1", "I live in Oslo", "Lives in Oslo", op="SUPERSEDE", target="m1"),
    operation("t2", "two cats", "Has two cats"),
]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a migrated database of each kind."""
    if request.param == "sqlite":
        made = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    else:
        made = request.getfixturevalue("postgres").url
        migrate.downgrade(made)
    migrate.upgrade(made)
    return made


async def prepare(url: str) -> None:
    """Give Ann and Ben two turns that are due, and a memory that the first contradicts."""
    engine = open_engine(url)
    await erasure.erase(engine, "app")
    turns = [
        NewMessage(str(n), "user", said, DAY + timedelta(days=n))
        for n, said in enumerate(("I live in Oslo", "I have two cats"))
    ]
    for owner in (ANN, BEN):
        await memories.add_memory(engine, owner, NewMemory("Lived in Rome"), id_="rome", now=DAY - timedelta(days=1))
        await conversations.ingest(engine, owner, "c", turns, now=DAY)
    await engine.dispose()


async def state(url: str) -> dict[Owner, Any]:
    """Return everybody's memories, and whether their turns have been read; by halves there is none of it."""
    engine = open_engine(url)
    found: dict[Owner, Any] = {}
    for owner in (ANN, BEN):
        batch = await read_batch(engine, owner, characters=1000, around=0)
        listed = await memories.list_memories(engine, owner, Wanted(), limit=9)
        ended = [each.text for each in listed if each.valid_until is not None]
        found[owner] = (len(batch.turns) if batch else 0, sorted(each.text for each in listed), ended)
        assert found[owner] in ((2, ["Lived in Rome"], []), (0, DONE, ["Lived in Rome"]))
    await engine.dispose()
    return found


DONE = sorted(["Lived in Rome", *(each["text"] for each in OPERATIONS)])


async def go_on(url: str, model_url: str) -> list[str]:
    """Do what another worker finds to do later; the states of all jobs then."""
    engine = open_engine(url)
    for later in (timedelta(hours=1), timedelta(hours=1) + 2 * SEND_AGAIN):
        await work(engine, model_url, now=NOW + later)
    states = [job.state for job in await jobs.list_jobs(engine)]
    await engine.dispose()
    return states


def test_a_kill_anywhere_leaves_each_memory_once(url: str, tmp_path: Path) -> None:
    """At every statement and around every commit: each person's turns are read with all their memories, or not yet."""
    with ModelServer(free_port()) as model:
        model.always = OPERATIONS
        for moment in count():
            asyncio.run(prepare(url))
            process = FORK.Process(target=run, args=(url, model.url, moment))
            process.start()
            process.join()
            asyncio.run(state(url))
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            assert asyncio.run(go_on(url, model.url)) == ["done", "done"]
            assert all(each == (0, DONE, ["Lived in Rome"]) for each in asyncio.run(state(url)).values())
    assert moment > 25
