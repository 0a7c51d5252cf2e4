"""Nothing that runs under a reaper outlives its starter: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.supervisor import reaper

DEADLINE_S = 20.0

# A command that leaves a daemon behind (double fork, own session), then sleeps; both write their process ids.
DAEMONISER = """
import os, signal, sys, time
folder, obey = sys.argv[1], sys.argv[2] == "obey"
if not obey:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(folder + "/daemon.new", "w").write(str(os.getpid()))
    os.rename(folder + "/daemon.new", folder + "/daemon")
    time.sleep(600)
os.wait()
while not os.path.exists(folder + "/daemon"):  # a command that ends at once would end it before it has said who it is
    time.sleep(0.01)
open(folder + "/command.new", "w").write(str(os.getpid()))
os.rename(folder + "/command.new", folder + "/command")
if len(sys.argv) > 3:
    sys.exit(int(sys.argv[3]))
time.sleep(600)
"""

# A starter of its own process: it holds the pipe until it is killed.
STARTER = """
import subprocess, sys, time
reaper = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)
open(sys.argv[1] + "/reaper", "w").write(str(reaper.pid))
time.sleep(600)
"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether `pid` runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pid_in(path: Path) -> int:
    """Return the process id that a started process wrote into `path`, once it is there."""
    wait_for(lambda: path.exists() and path.read_text() != "", f"{path.name} to start")
    return int(path.read_text())


@pytest.fixture
def under_reaper(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the daemonising command under a reaper: `under_reaper("obey" | "ignore", exit_status)`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, grace_s: float = 1.0) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", "-c", DAEMONISER, str(tmp_path), *arguments]
        started.append(subprocess.Popen(reaper.argv(command, grace_s=grace_s), stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def family(folder: Path, outer: int) -> list[int]:
    """Every process id of one run: both watches, the command, its daemon."""
    pids = [outer, pid_in(folder / "command"), pid_in(folder / "daemon")]
    return [*pids, *(pid for pid in reaper.descendants(outer) if pid not in pids)]


def assert_gone(pids: list[int]) -> None:
    """Every process of `pids` ends before the deadline."""
    assert len(pids) == 4
    wait_for(lambda: not any(map(alive, pids)), f"{pids} to end")


@pytest.mark.parametrize("manners", ["obey", "ignore"])
def test_nothing_survives_a_starter_that_is_killed(tmp_path: Path, manners: str) -> None:
    """SIGKILL for the starter ends the command and its daemon, whether they heed SIGTERM or not."""
    command = [sys.executable, "-I", "-S", "-c", DAEMONISER, str(tmp_path), manners]
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path), *reaper.argv(command, grace_s=0.5)])
    pids = family(tmp_path, pid_in(tmp_path / "reaper"))
    starter.kill()
    starter.wait()
    assert_gone(pids)


@pytest.mark.parametrize("manners", ["obey", "ignore"])
@pytest.mark.parametrize("victim", ["outer", "inner", "command"])
def test_nothing_survives_when_one_of_the_processes_is_killed(
    tmp_path: Path, under_reaper: Callable[..., subprocess.Popen[bytes]], victim: str, manners: str
) -> None:
    """SIGKILL for either watch, or for the command, ends all the others."""
    process = under_reaper(manners)
    pids = family(tmp_path, process.pid)
    os.kill({"outer": pids[0], "inner": pids[3], "command": pids[1]}[victim], signal.SIGKILL)
    process.wait(DEADLINE_S)
    assert_gone(pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_ends_everything(
    tmp_path: Path, under_reaper: Callable[..., subprocess.Popen[bytes]], number: signal.Signals
) -> None:
    """A command that ignores SIGTERM gets SIGKILL after the grace, and the status says so."""
    process = under_reaper("ignore")
    pids = family(tmp_path, process.pid)
    process.send_signal(number)
    assert process.wait(DEADLINE_S) == 128 + signal.SIGKILL
    assert_gone(pids)


def test_a_command_that_obeys_is_not_killed(
    tmp_path: Path, under_reaper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """A closed pipe means SIGTERM first: with a long grace the command ends by that signal."""
    process = under_reaper("obey", grace_s=600)
    pids = family(tmp_path, process.pid)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert_gone(pids)


def test_a_command_that_ends_takes_its_daemon_along(
    tmp_path: Path, under_reaper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The exit status is the command's, and what it left behind is gone by then."""
    process = under_reaper("obey", "7")
    assert process.wait(DEADLINE_S) == 7
    assert not alive(pid_in(tmp_path / "daemon"))
    assert not alive(pid_in(tmp_path / "command"))


def test_a_command_that_does_not_exist_is_127(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As in a shell: 127 for a command that is not there, 126 for one that may not run; a line names it."""
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    for command, status in (("/nonexistent/engine", 127), (str(plain), 126)):
        assert subprocess.run(reaper.argv([command], watched=False), check=False).returncode == status
        assert command in capfd.readouterr().err


def test_the_command_runs_in_the_requested_directory(tmp_path: Path) -> None:
    """`cwd` applies to the command; its own `--` and options reach it untouched."""
    command = [sys.executable, "-c", "import os, sys; print(os.getcwd(), sys.argv[1:])", "--", "--cwd", "x"]
    done = subprocess.run(
        reaper.argv(command, cwd=str(tmp_path), watched=False), check=True, capture_output=True, text=True
    )
    assert done.stdout.split(maxsplit=1) == [str(tmp_path), "['--', '--cwd', 'x']\n"]


LEAKER = """
import multiprocessing.shared_memory, os, sys, time
memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
open(sys.argv[1] + "/name.new", "w").write(memory.name)
os.rename(sys.argv[1] + "/name.new", sys.argv[1] + "/name")
time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["outer", "command", "starter"])
def test_shared_memory_of_the_killed_is_freed(tmp_path: Path, victim: str) -> None:
    """A command that dies by SIGKILL leaves nothing in /dev/shm: its resource tracker may still do its work."""
    command = reaper.argv([sys.executable, "-c", LEAKER, str(tmp_path)], grace_s=0.1)
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    wait_for((tmp_path / "name").exists, "shared memory to be made")
    memory = Path("/dev/shm") / (tmp_path / "name").read_text()
    assert memory.exists()
    inner = next(pid for pid in reaper.descendants(process.pid) if reaper.parent_of(pid) == process.pid)
    if victim == "starter":
        process.stdin.close()
    elif victim == "outer":
        process.kill()
    else:
        leaker = next(pid for pid in reaper.descendants(inner) if reaper.parent_of(pid) == inner)
        os.kill(leaker, signal.SIGKILL)
    process.wait(DEADLINE_S)
    wait_for(lambda: not memory.exists(), "shared memory to be freed")
    wait_for(lambda: not alive(inner), "the inner watch to end")
    process.stdin.close()


def test_the_directory_to_remove_goes_last(tmp_path: Path) -> None:
    """`remove` is there while the command runs and gone when the reaper ends."""
    scratch = tmp_path / "scratch"
    (scratch / "deep").mkdir(parents=True)
    command = ["sh", "-c", f"test -d {scratch} && echo there > {scratch}/deep/file"]
    done = subprocess.run(reaper.argv(command, watched=False, remove=str(scratch)), check=False)
    assert done.returncode == 0
    assert not scratch.exists()
