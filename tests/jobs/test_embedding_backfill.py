"""The task that re-embeds in the background: a real worker, embedders over HTTP, what the directory says of them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.app import create_app
from jobs.config import Ingress
from jobs.embedding_backfill import EVERY_S, RUN_S, reembed
from memory.embedding.backfill import Known, Report
from storage import migrate
from storage.database import open_engine
from storage.memory import conversations
from storage.memory.conversations import NewMessage
from storage.memory.owner import Owner
from storage.memory.vectors.embeddings import Space
from storage.memory.vectors.spaces import count_embedded
from tests.support.databases.redis_process import RedisProcess
from tests.support.gateway_process import CLUSTER_KEY, free_port, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.embedder import EmbedderServer

DAY = datetime(2026, 1, 1, tzinfo=UTC)
PRESENT, NEXT = Space("words", "1"), Space("words", "2")


def embedder_of(space: Space, dimensions: int = DIMENSIONS) -> dict[str, Any]:
    """Return an embedder as the directory tells of it."""
    route = f"/embedder-{space.revision}"
    return {"model": space.model, "revision": space.revision, "dimensions": dimensions, "route": route}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Return the address of a migrated database in which a person has said three things that have no vectors."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    migrate.upgrade(url)

    async def say() -> None:
        engine = open_engine(url)
        messages = [NewMessage(f"m{each}", "Ann", f"Turn {each}", DAY + timedelta(minutes=each)) for each in range(3)]
        await conversations.ingest(engine, Owner("app", "ann"), "c1", messages, now=DAY)
        await engine.dispose()

    asyncio.run(say())
    return url


@pytest.fixture
def ingress() -> Ingress:
    """Return an ingress at which nobody listens yet."""
    return Ingress(f"http://127.0.0.1:{free_port()}", CLUSTER_KEY)


@pytest.fixture
def both(ingress: Ingress) -> Iterator[None]:
    """Have two embedders there, and a directory that knows them."""
    with EmbedderServer(int(ingress.url.rpartition(":")[2]), {"embedders": [embedder_of(PRESENT), embedder_of(NEXT)]}):
        yield


def embedded(database_url: str) -> dict[Space, int]:
    """Return how many items have their vectors, by space."""

    async def look() -> dict[Space, int]:
        engine = open_engine(database_url)
        found = await count_embedded(engine)
        await engine.dispose()
        return found

    return asyncio.run(look())


@pytest.mark.usefixtures("both")
def test_a_run_makes_the_vectors_of_both(database_url: str, ingress: Ingress) -> None:
    """It asks the directory who there is, and each embedder on its own route."""
    report = asyncio.run(reembed(database_url, ingress, Known()))
    assert report == Report({PRESENT: 3, NEXT: 3}, 0, True)
    assert embedded(database_url) == {PRESENT: 3, NEXT: 3}


def test_nothing_is_done_without_a_directory_or_an_embedder(database_url: str, ingress: Ingress) -> None:
    """Ray being away is no error of the task's; no embedder means nothing to do, and nothing to delete."""
    assert not asyncio.run(reembed(database_url, ingress, Known())).is_complete
    for routing in (None, {}, {"embedders": []}):
        with EmbedderServer(int(ingress.url.rpartition(":")[2]), routing):
            report = asyncio.run(reembed(database_url, ingress, Known()))
        assert (report.made, report.deleted) == ({}, 0)
    assert embedded(database_url) == {}


def test_vectors_of_another_length_are_not_stored(database_url: str, ingress: Ingress) -> None:
    """A model that is not what the configuration says counts as away."""
    routing = {"embedders": [embedder_of(PRESENT), embedder_of(NEXT, DIMENSIONS + 1)]}
    with EmbedderServer(int(ingress.url.rpartition(":")[2]), routing):
        report = asyncio.run(reembed(database_url, ingress, Known()))
    assert report == Report({PRESENT: 3}, 0, False)
    assert embedded(database_url) == {PRESENT: 3}


@pytest.mark.usefixtures("both")
def test_the_worker_does_it(redis_process: RedisProcess, database_url: str, ingress: Ingress, tmp_path: Path) -> None:
    """A worker that is told where the ingress is takes the task from Redis and finishes it."""
    environ = {
        **os.environ,
        "BONDHU_REDIS_URL": redis_process.url,
        "BONDHU_DATABASE_URL": database_url,
        "BONDHU_INGRESS_URL": ingress.url,
        "BONDHU_CLUSTER_KEY": ingress.cluster_key,
    }
    worker = subprocess.Popen([sys.executable, "-m", "jobs.worker", "--schedule", str(tmp_path / "beat")], env=environ)
    try:
        create_app(redis_process.url, database_url).send_task("jobs.reembed")
        wait_for(lambda: embedded(database_url) == {PRESENT: 3, NEXT: 3}, "the task to finish")
    finally:
        worker.kill()
        worker.wait()


def test_the_task_is_scheduled_where_there_is_an_ingress() -> None:
    """The schedule names a task that exists, runs do not pile up, and between two the worker has time for others."""
    unused = ("redis://localhost:1", "sqlite+aiosqlite:///unused.db")
    app = create_app(*unused, ingress=Ingress("http://localhost:1", "key"))
    entry = app.conf.beat_schedule["reembed"]
    assert entry["task"] in app.tasks
    assert RUN_S < entry["schedule"] == entry["options"]["expires"] == EVERY_S
    assert "reembed" not in create_app(*unused).conf.beat_schedule
