"""The Redis of `bondhu up` keeps its data: in a dump, which it writes on a stop and, while it runs, within a minute."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from serving.config.load import load_settings
from serving.supervisor.processes import components
from tests.support.gateway_process import wait_for
from tests.support.polling import eventually

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[[], tuple["subprocess.Popen[bytes]", "Redis"]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts it with the supervisor's own command line."""
    environ = {
        "BONDHU_VAR_DIR": str(tmp_path / "var"),
        "BONDHU__RUNTIME_DIR": str(tmp_path),
        "BONDHU__MODELS__ACTIVE": "bondhu-demo",
    }
    settings = load_settings(ROOT, environ)
    (command,) = [part.command for part in components(settings) if part.name == "redis"]
    socket = tmp_path / "redis.sock"
    (tmp_path / "var/redis").mkdir(parents=True)
    started: list[subprocess.Popen[bytes]] = []

    def start_redis() -> tuple["subprocess.Popen[bytes]", "Redis"]:
        socket.unlink(missing_ok=True)  # a killed one leaves it
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        wait_for(socket.exists, "Redis to listen")
        return started[-1], Redis(unix_socket_path=str(socket))

    yield start_redis
    for process in started:
        process.kill()
        process.wait()


def test_what_is_queued_outlives_a_restart(start: Start) -> None:
    """A stop with SIGTERM, as the supervisor's, loses no job and no count of a limit."""
    process, redis = start()
    redis.lpush("bondhu:celery:jobs", b"a job")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    _, redis = start()
    assert redis.lrange("bondhu:celery:jobs", 0, -1) == [b"a job"]


@pytest.mark.slow  # the interval is a minute
def test_a_killed_redis_has_what_was_saved_within_a_minute(start: Start) -> None:
    """The save point of its command line is in force: a change is in the dump without a stop."""
    process, redis = start()
    redis.set("bondhu:some", 1)
    eventually(lambda: redis.info("persistence")["rdb_changes_since_last_save"] == 0, 120, "the dump to be written")
    process.kill()
    process.wait()
    _, redis = start()
    assert redis.get("bondhu:some") == b"1"
