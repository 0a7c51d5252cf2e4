"""The supervisor with small processes in place of the real ones: they die, come back, and all end in order."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from serving.config.schema import ModelsSettings, Settings
from serving.supervisor import reaper, run_files
from serving.supervisor.probe import Probe
from serving.supervisor.processes import Component
from serving.supervisor.supervisor import Stack, prepare_directories

DEADLINE_S = 30.0

# Listens on a Unix socket, with a daemon beside it that left its session; says in a journal when it is told to stop.
SERVER = """
import os, signal, socket, sys, time
name, folder = sys.argv[1:3]
def note(what):
    with open(folder + "/journal", "a") as journal:
        journal.write(f"{name} {what}\\n")
def stop(*_):
    note("stops")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
path = f"{folder}/{name}.sock"
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
note("starts")
while True:
    with server.accept()[0] as client:
        if client.recv(100):
            client.sendall(b"here")
"""
APPLY = """
import os, sys
with open(sys.argv[1] + "/journal", "a") as journal:
    journal.write(f"apply {' '.join(sys.argv[2:])}\\n")
try:
    os.remove(sys.argv[1] + "/fail")
except FileNotFoundError:
    sys.exit(0)
sys.exit(4)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose directories are made."""
    made = Settings(
        root=tmp_path,
        var_dir=tmp_path / "var",
        runtime_dir=tmp_path / "run",
        models=ModelsSettings(active="none"),
        catalogue={},
    )
    prepare_directories(made)
    return made


@asynccontextmanager
async def running(settings: Settings, *names: str) -> AsyncIterator[Stack]:
    """Run a stack of such servers; leaving the block stops it, and nothing is left."""
    folder = str(settings.root)
    parts = tuple(
        Component(
            name,
            (sys.executable, "-c", SERVER, name, folder),
            {},
            Probe(settings.root / f"{name}.sock", b"there?", (b"here",), 5),
            20,
            5,
        )
        for name in names
    )
    stack = Stack(settings, parts, dict(os.environ), (sys.executable, "-c", APPLY, folder))
    stop = asyncio.Event()
    work = asyncio.create_task(stack.run(stop))
    try:
        for name in names:
            await asyncio.wait_for(stack.up[name].wait(), DEADLINE_S)
        yield stack
    finally:
        outer = [status.pid for status in stack.status.values() if status.pid]
        started = [pid for watch in outer for pid in (watch, *reaper.descendants(watch))]
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)
    assert len(started) >= 4 * len(names)
    assert not still_there(started)


def journal(settings: Settings) -> list[str]:
    """Return what the processes noted so far."""
    path = settings.root / "journal"
    return path.read_text().splitlines() if path.exists() else []


def still_there(pids: list[int]) -> list[int]:
    """Return those processes that have not ended."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def until(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        await asyncio.sleep(0.05)


def command_of(stack: Stack, name: str) -> int:
    """Return the process id of the server itself, below its two watches."""
    outer = stack.status[name].pid
    assert outer is not None
    family = reaper.descendants(outer)
    inner = next(pid for pid in family if reaper.parent_of(pid) == outer)
    return next(pid for pid in family if reaper.parent_of(pid) == inner)


async def test_what_is_killed_comes_back(settings: Settings) -> None:
    """SIGKILL for one process restarts that one, and its daemon does not stay beside the new one."""
    async with running(settings, "redis", "gateway") as stack:
        victim = command_of(stack, "redis")
        os.kill(victim, signal.SIGKILL)
        await until(lambda: journal(settings).count("redis starts") == 2, "redis to start again")
        await until(lambda: stack.status["redis"].state == "running", "redis to serve again")
        assert stack.status["redis"].restarts == 1
        assert stack.status["gateway"].restarts == 0
        assert len(reaper.descendants(stack.status["redis"].pid or 0)) == 3
        assert run_files.read_state(settings.var_dir)["redis"]["state"] == "running"


async def test_what_no_longer_answers_is_restarted(settings: Settings) -> None:
    """A process that lives but listens no more is replaced."""
    async with running(settings, "gateway") as stack:
        (settings.root / "gateway.sock").unlink()
        await until(lambda: journal(settings).count("gateway starts") == 2, "the gateway to be replaced")
        await until(lambda: stack.status["gateway"].state == "running", "the gateway to serve again")


async def test_all_stop_last_started_first(settings: Settings) -> None:
    """An orderly stop: the gateway drains before what it needs goes."""
    async with running(settings, "redis", "ray", "gateway"):
        pass
    assert [line for line in journal(settings) if "stops" in line] == ["gateway stops", "ray stops", "redis stops"]


async def test_ray_is_given_its_applications_at_each_start(settings: Settings) -> None:
    """First what is configured; after Ray was restarted, what was there before."""
    async with running(settings, "ray") as stack:
        await until(lambda: stack.status["apply"].state == "done", "the applications")
        os.kill(command_of(stack, "ray"), signal.SIGKILL)
        await until(lambda: "apply --restore" in journal(settings), "the applications to be restored")
    assert [line.strip() for line in journal(settings) if "apply" in line] == ["apply", "apply --restore"]


async def test_applying_is_tried_again_while_ray_does_not_answer(settings: Settings) -> None:
    """Exit code 4 means that Ray was not reached."""
    (settings.root / "fail").touch()
    async with running(settings, "ray") as stack:
        await until(lambda: stack.status["apply"].state == "done", "the second try")
    assert len([line for line in journal(settings) if "apply" in line]) == 2


def test_a_second_stack_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    """The lock tells who holds it, and is free when its holder is gone."""
    assert run_files.holder(tmp_path) is None
    lock = run_files.acquire_lock(tmp_path)
    run_files.write_lock(lock, {"supervisor": 7})
    with pytest.raises(run_files.AlreadyRunning) as refusal:
        run_files.acquire_lock(tmp_path)
    assert refusal.value.details == {"supervisor": 7}
    assert run_files.holder(tmp_path) == {"supervisor": 7}
    os.close(lock)
    assert run_files.holder(tmp_path) is None


def test_a_runtime_directory_that_others_can_read_is_refused(settings: Settings) -> None:
    """Its sockets are doors: somebody else's directory, or a link to one, is not used."""
    elsewhere = settings.root / "elsewhere"
    elsewhere.mkdir(mode=0o777)
    settings.runtime_dir.joinpath("tmp").rmdir()
    settings.runtime_dir.rmdir()
    settings.runtime_dir.symlink_to(elsewhere)
    with pytest.raises(PermissionError, match="runtime_dir"):
        prepare_directories(settings)


async def test_a_log_that_grows_long_does_not_fill_the_disk(settings: Settings) -> None:
    """Its lines move to .log.1, and the process goes on writing to the emptied file."""
    script = "import time\nwhile True:\n    print('x' * 99, flush=True)\n    time.sleep(0.01)"
    parts = (Component("chatty", (sys.executable, "-c", script)),)
    stack = Stack(settings, parts, dict(os.environ), ("true",), probe_interval_s=0.05, log_limit_bytes=1000)
    stop = asyncio.Event()
    work = asyncio.create_task(stack.run(stop))
    log = settings.var_dir / "logs/chatty.log"
    older = log.with_suffix(".log.1")
    try:
        await until(older.exists, "the log to move")
        await until(lambda: 0 < log.stat().st_size < older.stat().st_size, "the process to write on")
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)
    assert set(older.read_text().splitlines()) == {"x" * 99}
    assert b"\0" not in log.read_bytes()
