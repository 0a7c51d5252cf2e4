"""A worker that is killed at any step of an extraction: the next one leaves what one alone would have left."""

import asyncio
import multiprocessing
import signal
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from storage import migrate
from storage.database import open_engine
from storage.jobs import board as job_board
from storage.memory import conversations, erasure, memories
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryFilter, NewMemory
from storage.memory.owner import Owner
from storage.memory.unread_turns import read_batch
from tests.support.gateway_process import free_port
from tests.support.memory.extraction_steps import NOW, run, work
from tests.support.servers.model import ModelServer, operation

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["aiosqlite", "asyncpg", "faiss", "openai.types.chat", "Stemmer"])  # once, not each
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
    """Give Ann two turns that are due, and a memory that the first contradicts."""
    engine = open_engine(url)
    await erasure.erase(engine, ANN)
    await memories.add_memory(engine, ANN, NewMemory("Lived in Rome"), id_="rome", now=DAY - timedelta(days=1))
    turns = [NewMessage(text, "user", text, DAY) for text in ("I live in Oslo", "I have two cats")]
    await conversations.ingest(engine, ANN, "c", turns, now=DAY)
    await engine.dispose()


async def state(url: str) -> tuple[int, list[str], list[str]]:
    """How many turns are unread, what is remembered, and what of it has ended."""
    engine = open_engine(url)
    batch = await read_batch(engine, ANN, characters=1000, around=0)
    listed = await memories.list_memories(engine, ANN, MemoryFilter(), limit=9)
    await engine.dispose()
    ended = [each.text for each in listed if each.valid_until is not None]
    return len(batch.turns) if batch else 0, sorted(each.text for each in listed), ended


async def go_on(url: str, model_url: str) -> list[str]:
    """Do what another worker finds to do an hour later; the states of all jobs then."""
    engine = open_engine(url)
    await work(engine, model_url, now=NOW + timedelta(hours=1))
    states = [job.state for job in await job_board.list_jobs(engine)]
    await engine.dispose()
    return states


def test_a_kill_anywhere_leaves_each_memory_once(url: str, tmp_path: Path) -> None:
    """At every statement and around every commit: the turns are read with all their memories, or not yet."""
    before = (2, ["Lived in Rome"], [])
    after = (0, sorted(["Lived in Rome", *(each["text"] for each in OPERATIONS)]), ["Lived in Rome"])
    with ModelServer(free_port()) as model:
        model.always = OPERATIONS
        for moment in count():
            asyncio.run(prepare(url))
            process = FORK.Process(target=run, args=(url, model.url, moment))
            process.start()
            process.join()
            assert asyncio.run(state(url)) in (before, after)
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            assert asyncio.run(go_on(url, model.url)) == ["done"]
            assert asyncio.run(state(url)) == after
    assert moment > 20
