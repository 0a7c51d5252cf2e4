"""Extraction as it runs: beat, queue, worker and gateway are real, the engine is scripted."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.app import create_app
from jobs.config import read_plan
from jobs.key_usage import KEY_USED
from jobs.tasks import QUEUES, SEND_DUE
from serving.config.credentials import load_secrets
from serving.config.errors import ConfigError
from serving.config.load import load_settings
from serving.config.schema import ExtractionSettings
from serving.supervisor import bootstrap
from serving.supervisor.processes import components, environment
from storage import api_keys, migrate
from storage.database import open_engine
from storage.jobs import board as job_board
from storage.jobs import queue as jobs
from storage.memory import conversations, memories
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryFilter
from storage.memory.owner import Owner
from storage.memory.unread_turns import mark_read, read_batch
from storage.requests import sum_requests
from tests.serving.cli.test_cli import answer, bondhu
from tests.serving.config.test_settings import root
from tests.support.databases.redis_process import RedisProcess
from tests.support.gateway_process import GatewayProcess, free_port, make_key, wait_for
from tests.support.servers.model import ModelServer, operation

__all__ = ["root"]
ANNABELLE = Owner("diary-app", "annabelle-7731")
SECRET = "I have two cats called Xylo and Zephyr"
CATS = operation("t1", "two cats", "Annabelle has two cats")
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def with_database(url: str, ask: Callable[[AsyncEngine], Any]) -> Any:
    """Return what `ask` answers on a pool of its own."""

    async def run() -> Any:
        engine = open_engine(url)
        try:
            return await ask(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def say(url: str, owner: Owner = ANNABELLE) -> None:
    """Have somebody say it."""
    turns = [NewMessage("1", "user", SECRET, DAY)]
    with_database(url, lambda engine: conversations.ingest(engine, owner, "c", turns, now=DAY))


def texts(url: str, owner: Owner = ANNABELLE) -> list[str]:
    """Return what is remembered of somebody."""
    found = with_database(url, lambda engine: memories.list_memories(engine, owner, MemoryFilter(), limit=9))
    return [each.text for each in found]


def plan_environ(base_url: str, key: str = "bd-test", **settings: Any) -> dict[str, str]:
    """Return what tells a worker to extract, at once."""
    plan = ExtractionSettings(model="bondhu", **{"idle_s": 0, "every_s": 1, **settings}).model_dump()
    return {
        "BONDHU_EXTRACTION": json.dumps({**plan, "base_url": base_url, "embedder": None}),
        "BONDHU_JOBS_KEY": key,
    }


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Return the address of a migrated database."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    migrate.upgrade(url)
    return url


@contextmanager
def working(redis_url: str, database_url: str, folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Run a worker, and stop it in order."""
    own = {**os.environ, "BONDHU_REDIS_URL": redis_url, "BONDHU_DATABASE_URL": database_url, **environ}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "jobs.worker", "--schedule", str(folder / "beat")]
    worker = subprocess.Popen(command, env=own, cwd=root)
    try:
        yield
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()


def test_what_is_said_is_remembered_by_itself(tmp_path: Path) -> None:
    """From a turn in SQL through beat, worker and gateway to the engine and back; the ledger knows it as a job."""
    with (
        GatewayProcess(tmp_path, BONDHU__EMBEDDER__ENABLED="false") as gateway,
        ModelServer(gateway.ingress_port) as model,
    ):
        model.always = [CATS]
        key = gateway.make_key("bondhu")
        wait_for(lambda: gateway.get("/ready").status_code == 200, "the engine to be ready")
        say(gateway.database_url)
        with working(gateway.redis.url, gateway.database_url, tmp_path, plan_environ(gateway.url, key)):
            wait_for(lambda: texts(gateway.database_url) == ["Annabelle has two cats"], "the memory")
        (job,) = with_database(gateway.database_url, job_board.list_jobs)
        assert (job.state, job.attempts, job.error) == ("done", 1, None)
        assert "response_format" in model.requests[0]
        assert SECRET not in gateway.log.read_text()
    summed = with_database(gateway.database_url, lambda engine: sum_requests(engine, ["app", "user"], limit=9))
    assert [(row["app"], row["user"], row["requests"]) for row in summed] == [("bondhu", None, 1)]


def test_the_queue_knows_nobody(redis_process: RedisProcess, database_url: str) -> None:
    """What waits in Redis is a job's id; when the person has been forgotten, it is nobody's."""
    say(database_url)
    app = create_app(redis_process.url, database_url, read_plan(plan_environ("http://127.0.0.1:1")))
    assert app.tasks[SEND_DUE]() == 1
    (job,) = with_database(database_url, job_board.list_jobs)
    with Redis.from_url(redis_process.url) as redis:
        (waiting,) = redis.lrange(f"bondhu:celery:{QUEUES[1]}", 0, -1)
        assert job.id in json.dumps(_decoded(waiting))
        held = b"".join(redis.dump(name) or b"" for name in redis.keys("*"))
        held += json.dumps(_decoded(waiting)).encode()
    for secret in (ANNABELLE.app, ANNABELLE.user, *SECRET.split()[-3:]):
        assert secret.encode() not in held


def _decoded(message: bytes) -> list[Any]:
    """A message as Celery wrote it, with its body in clear."""
    whole = json.loads(message)
    return [whole, base64.b64decode(whole["body"]).decode()]


def test_extractions_do_not_starve_other_tasks(redis_process: RedisProcess, database_url: str, tmp_path: Path) -> None:
    """A flush that was queued behind many extractions has its turn after one of them."""
    url = redis_process.url
    make_key(database_url, "test")
    (key,) = with_database(database_url, api_keys.list_keys)
    owners = [Owner("app", str(number)) for number in range(4)]
    flushed: list[bool] = []

    def look() -> list[Any]:
        flushed.append(with_database(database_url, api_keys.list_keys)[0].last_used_at is not None)
        return []

    with ModelServer(free_port()) as model:
        model.answers += [look] * len(owners)
        environ = plan_environ(model.url, every_s=3600)
        for owner in owners:
            say(database_url, owner)
        app = create_app(url, database_url, read_plan(environ))
        assert app.tasks[SEND_DUE]() == len(owners)
        with Redis.from_url(url) as redis:
            redis.hset(KEY_USED, key.id, "1772366400")
        app.send_task("jobs.flush_key_uses")
        with working(url, database_url, tmp_path, environ):
            wait_for(lambda: len(flushed) == len(owners), "all extractions")
    assert flushed[-2:] == [True, True]


def test_a_worker_without_a_plan_extracts_nothing() -> None:
    """Nobody does it, and none of the libraries is loaded."""
    code = (
        "import sys; from jobs.app import create_app; from jobs.config import JobsPlan; "
        "from jobs.handlers import handlers_of; create_app('redis://localhost:1', 'sqlite+aiosqlite://'); "
        "assert 'extract' not in handlers_of(JobsPlan()); "
        "assert not {'numpy', 'openai', 'Stemmer'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_the_worker_gets_the_settings(root: Path) -> None:
    """The plan comes through the environment, the key is made in the database once, and without a model neither is."""
    environ = {"BONDHU_ROOT": str(root), "PATH": os.environ["PATH"]}
    settings = load_settings(environ=environ)
    bootstrap.prepare(settings)
    assert load_secrets(settings.var_dir, {}).jobs_key is None
    settings = load_settings(environ=environ | {"BONDHU__MEMORY__EXTRACTION__MODEL": "bondhu"})
    made = []
    for _ in range(2):
        bootstrap.prepare(settings)
        made.append(load_secrets(settings.var_dir, {}).jobs_key)
    (worker,) = [part for part in components(settings) if part.name == "worker"]
    plan = read_plan({**environment(settings, load_secrets(settings.var_dir, {}), {}), **worker.environment})
    assert plan is not None
    assert made == [plan.target.api_key] * 2
    assert plan.target.base_url == f"http://127.0.0.1:{settings.gateway.port}"
    assert (plan.target.model, plan.target.embedder) == ("bondhu", settings.embedder.id)
    assert plan.rules.max_attempts == settings.memory.extraction.max_attempts
    url = f"sqlite+aiosqlite:///{settings.var_dir / 'bondhu.db'}"
    found = {record.app: record for record in with_database(url, api_keys.list_keys)}
    assert (found["bondhu"].tier, found["bondhu"].allow_external) == ("standard", False)
    with pytest.raises(ConfigError, match=r"memory\.extraction\.model"):
        load_settings(environ=environ | {"BONDHU__MEMORY__EXTRACTION__MODEL": "bondu"})


def test_operators_see_and_retry_dead_jobs(tmp_path: Path) -> None:
    """`bondhu jobs` lists by state and queues dead jobs again, one or all."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BONDHU")}
    environ = kept | {"BONDHU_ROOT": str(Path(__file__).resolve().parents[2]), "BONDHU_VAR_DIR": str(tmp_path)}
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    migrate.upgrade(url)
    say(url)

    async def give_up(engine: AsyncEngine) -> str:
        id_ = await jobs.add_job(engine, ANNABELLE, "extract", now=DAY)
        assert id_ is not None
        claim = await jobs.claim_job(engine, id_, now=DAY, until=DAY, max_attempts=1)
        assert claim is not None
        await jobs.fail_job(engine, claim, "500 [bold]", now=DAY, again_at=DAY, max_attempts=1)
        return id_

    id_ = with_database(url, give_up)
    (job,) = answer(bondhu(environ, "jobs", "list", "--state", "dead", "--json"))
    assert (job["id"], job["error"]) == (id_, "500 [bold]")
    assert "500 [bold]" in bondhu(environ | {"COLUMNS": "200"}, "jobs", "list").stdout
    assert bondhu(environ, "jobs", "list", "--state", "odd").returncode == 2
    assert bondhu(environ, "jobs", "retry", "another").returncode == 1
    assert bondhu(environ, "jobs", "retry", id_).returncode == 0
    (job,) = answer(bondhu(environ, "jobs", "list", "--json"))
    assert (job["state"], job["attempts"]) == ("queued", 0)


def test_turns_are_read_again_by_another_model(tmp_path: Path) -> None:
    """`bondhu jobs reread` marks them as unread and adds a job for everybody, which names the model."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BONDHU")}
    environ = kept | {"BONDHU_ROOT": str(Path(__file__).resolve().parents[2]), "BONDHU_VAR_DIR": str(tmp_path)}
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    migrate.upgrade(url)
    say(url)
    with_database(url, lambda engine: mark_all_read(engine, ANNABELLE))
    command = ["jobs", "reread", "--since", "2025-01-01", "--model", "better"]
    ended = bondhu(environ, *command)
    assert "1 turns of 1 people" in ended.stdout, ended.stderr
    (job,) = answer(bondhu(environ, "jobs", "list", "--json"))
    assert (job["kind"], job["state"], job["end_user"]) == ("extract", "queued", ANNABELLE.user)
    later = datetime(2099, 1, 1, tzinfo=UTC)
    claiming = partial(jobs.claim_job, id_=job["id"], now=later, until=later, max_attempts=1)
    assert with_database(url, claiming).params == {"model": "better"}
    assert "0 turns of 0 people" in bondhu(environ, *command).stdout


async def mark_all_read(engine: AsyncEngine, owner: Owner) -> None:
    """Mark the turns of somebody as read."""
    batch = await read_batch(engine, owner, characters=1000, around=0)
    assert batch is not None
    async with engine.begin() as connection:
        await mark_read(connection, owner, [turn.id for turn in batch.turns], now=DAY)
