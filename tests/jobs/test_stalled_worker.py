"""A worker that lives and does nothing is started again by its supervisor: what counts is a task that comes back."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from serving.config.credentials import Secrets
from serving.config.errors import ConfigError
from serving.config.load import load_settings
from serving.config.schema import Settings
from serving.supervisor.probe import RoundTrip
from serving.supervisor.processes import Component, components, environment
from serving.supervisor.supervisor import Stack, prepare_directories
from storage import migrate
from tests.support.databases.redis_process import RedisProcess

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120.0
STALL_S = 6.0


def settings_of(tmp_path: Path, redis: RedisProcess, stall_timeout_s: float = STALL_S) -> Settings:
    """Those of a service whose worker is waited for no longer."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BONDHU")} | {
        "BONDHU_ROOT": str(ROOT),
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
        "BONDHU__REDIS__URL": redis.url,
        "BONDHU__EMBEDDER__ENABLED": "false",
        "BONDHU__WORKER__TASK_TIMEOUT_S": "5",
        "BONDHU__WORKER__STALL_TIMEOUT_S": str(stall_timeout_s),
    }
    return load_settings(environ=environ)


def worker_of(settings: Settings) -> Component:
    """The worker, which is given little time to stop."""
    return replace(next(part for part in components(settings) if part.name == "worker"), grace_s=1)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.1)


async def test_a_round_trip_has_an_age(tmp_path: Path) -> None:
    """None yet, one of now, and one that is too old."""
    probe = RoundTrip(tmp_path / "worked", 60)
    assert not await probe.answers()
    probe.file.touch()
    assert await probe.answers()
    os.utime(probe.file, (1, 1))
    assert not await probe.answers()


def test_a_worker_is_not_restarted_before_its_task_times_out(tmp_path: Path, redis_process: RedisProcess) -> None:
    """A task may take its time, and others wait behind it; by default there are two minutes beside."""
    with pytest.raises(ConfigError, match="stall_timeout_s"):
        settings_of(tmp_path, redis_process, stall_timeout_s=5)
    assert load_settings(environ={"BONDHU_ROOT": str(ROOT)}).worker.answers_within_s == 420


@pytest.mark.slow  # half a minute, most of it waiting
async def test_a_worker_that_stands_still_is_replaced(tmp_path: Path, redis_process: RedisProcess) -> None:
    """Its process lives (SIGSTOP) and takes nothing from the queue; the next one does."""
    settings = settings_of(tmp_path, redis_process)
    prepare_directories(settings)
    env = environment(settings, Secrets("ray", "cluster", "scrape"), dict(os.environ))
    await asyncio.to_thread(migrate.upgrade, env["BONDHU_DATABASE_URL"])
    part = worker_of(settings)
    assert isinstance(part.probe, RoundTrip)
    stack = Stack(settings, (part,), env, (sys.executable, "-c", ""))
    stop = asyncio.Event()
    work = asyncio.create_task(stack.run(stop))
    try:
        status = stack.status["worker"]
        await until(lambda: status.state == "running", "a task to come back")
        first = part.probe.file.stat().st_mtime
        await until(lambda: part.probe.file.stat().st_mtime > first, "another, of the schedule")
        for process in psutil.Process(status.pid).children(recursive=True):
            if "reaper" not in " ".join(process.cmdline()):  # Celery gives its process a title of its own
                process.send_signal(signal.SIGSTOP)
        await until(lambda: status.restarts > 0, "the supervisor to notice")
        assert status.detail == "no longer responds"
        stood_still = part.probe.file.stat().st_mtime
        await until(lambda: status.state == "running", "the next worker")
        assert part.probe.file.stat().st_mtime > stood_still
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)
