"""Each process of the service by itself, as containers start them: they wait, refuse, serve, and stop clean."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from jobs.app import create_app
from serving.cli.console import Exit
from serving.supervisor.health_check import worker
from tests.support.databases.redis_process import RedisProcess

DEADLINE_S = 90.0
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def environ(tmp_path: Path, redis_process: RedisProcess) -> dict[str, str]:
    """Return the environment of a service in a directory of its own, with that Redis."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        **os.environ,
        "BONDHU_ROOT": str(REPOSITORY),
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
        "BONDHU__REDIS__URL": redis_process.url,
        "BONDHU__EMBEDDER__ENABLED": "false",
        "BONDHU__GATEWAY__PORT": str(port),
    }


def bondhu(environ: dict[str, str], *words: str) -> subprocess.Popen[str]:
    """Start a command of `bondhu`."""
    command = [sys.executable, "-m", "serving.cli", *words]
    return subprocess.Popen(
        command, env=environ, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture
def prepared(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment after `bondhu init`, which says where the first key is."""
    output, _ = (started := bondhu(environ, "init")).communicate(timeout=DEADLINE_S)
    assert started.returncode == 0, output
    assert "dev.env" in output
    assert "OPENAI_API_KEY=" in (Path(environ["BONDHU_VAR_DIR"]) / "dev.env").read_text()
    return environ


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    """Return a list of processes that are ended when the test is over."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    """Whether somebody answers there with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_the_gateway_waits_for_the_database_then_serves_and_ends_with_status_0(
    environ: dict[str, str], running: list[subprocess.Popen[str]]
) -> None:
    """It is started before `bondhu init`, as containers are; SIGTERM is an orderly stop."""
    gateway = bondhu(environ, "gateway")
    running.append(gateway)
    assert bondhu(environ, "init").wait(DEADLINE_S) == 0
    deadline = time.monotonic() + DEADLINE_S
    while not answers(f"http://127.0.0.1:{environ['BONDHU__GATEWAY__PORT']}/health"):
        assert gateway.poll() is None, gateway.stdout and gateway.stdout.read()
        assert time.monotonic() < deadline, "the gateway does not answer"
        time.sleep(0.2)
    gateway.send_signal(signal.SIGTERM)
    assert gateway.wait(DEADLINE_S) == 0
    assert not answers(f"http://127.0.0.1:{environ['BONDHU__GATEWAY__PORT']}/health")


def test_a_process_that_finds_no_prepared_database_says_what_to_do(environ: dict[str, str]) -> None:
    """It gives up after the time that it was given."""
    started = bondhu(environ, "worker", "--wait-s", "1")
    output, _ = started.communicate(timeout=DEADLINE_S)
    assert started.returncode == Exit.NOT_RUNNING
    assert "run `bondhu init`" in output


@pytest.mark.parametrize("process", ["gateway", "worker"])
def test_a_redis_that_can_lose_the_queue_is_refused(
    prepared: dict[str, str], redis_process: RedisProcess, process: str
) -> None:
    """allkeys-lru throws away queued jobs; the refusal names the remedy."""
    with Redis.from_url(redis_process.url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
    started = bondhu(prepared, process)
    output, _ = started.communicate(timeout=DEADLINE_S)
    assert started.returncode == Exit.CONFIGURATION, output
    assert "allkeys-lru" in output
    assert "volatile-lru" in output


def test_a_worker_notes_that_a_task_came_back_and_stops_between_two(
    prepared: dict[str, str], redis_process: RedisProcess, running: list[subprocess.Popen[str]]
) -> None:
    """The health check's round trip; after `worker.max_tasks` tasks the process ends with status 0, none is lost."""
    worked = Path(prepared["BONDHU__RUNTIME_DIR"]) / "worked"
    assert worker(worked) is not None, "nothing came back yet"
    app = create_app(redis_process.url, "sqlite+aiosqlite://")
    app.send_task("jobs.worked")
    for _ in range(3):
        app.send_task("jobs.run", ("a job that is gone",))  # the beat's own tasks do not count
    started = bondhu({**prepared, "BONDHU__WORKER__MAX_TASKS": "2"}, "worker")
    running.append(started)
    assert started.wait(DEADLINE_S) == 0
    assert worker(worked) is None
    with Redis.from_url(redis_process.url) as redis:
        left = [json.loads(message) for message in redis.lrange("bondhu:celery:jobs", 0, -1)]
        taken = [json.loads(each)[0] for each in redis.hvals("bondhu:celery:unacked")]
    waiting = [message["headers"]["task"] for message in left + taken]
    assert waiting.count("jobs.run") == 1, "two of three were done; the third waits for the next process"


def test_a_worker_that_stood_still_is_not_healthy(tmp_path: Path) -> None:
    """The age of the file tells, not the process."""
    file = tmp_path / "worked"
    file.touch()
    assert worker(file) is None
    os.utime(file, (1, 1))
    assert "s ago" in (worker(file) or "")
