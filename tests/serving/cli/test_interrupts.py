"""Ctrl-C ends `bondhu up` wherever it happens to be, also where Python drops exceptions."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import os, signal, subprocess, sys
from serving.cli.service.up import Interrupts

class Closing:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        for _ in range(1000):
            pass

signal.signal(int(sys.argv[1]), signal.SIG_DFL)  # nohup, for one, has a signal ignored in all that it starts
stack = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
interrupts = Interrupts(stack.terminate)
Closing()  # cleared away at once
assert interrupts.count == 1
sys.exit(stack.wait(60) != -signal.SIGTERM)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_an_object_is_cleared_away_is_not_lost(number: signal.Signals) -> None:
    """KeyboardInterrupt would be printed there and forgotten."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(int(number))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_signal_that_is_ignored_from_the_start_stays_so() -> None:
    """As a script's background commands ignore Ctrl-C, and what nohup starts the end of its terminal."""
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nfrom serving.cli.service.up import Interrupts\n"
    )
    script += "Interrupts(); assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background commands ignore it
from serving.cli.__main__ import main
main()
"""
LOADING = """
import os, signal, sys
from importlib.abc import MetaPathFinder

module = sys.argv.pop()

class CtrlC(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, CtrlC())
from serving.cli.__main__ import main
sys.argv.append("--help")
main()
"""


@pytest.mark.parametrize("module", ["typer", "serving.config.load", "serving.supervisor.readiness", "models.fetch"])
def test_ctrl_c_while_the_command_loads_ends_it_with_one_line(module: str) -> None:
    """Nothing has been started: there is nothing to stop, and a traceback through imports helps nobody."""
    done = subprocess.run([sys.executable, "-c", LOADING, module], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_while_the_database_is_prepared_ends_with_one_line(tmp_path: Path) -> None:
    """The process that migrates it is told by the terminal as well, and shows no traceback either."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and never answers
        environ = {
            **os.environ,
            "BONDHU_VAR_DIR": str(tmp_path / "var"),
            "BONDHU__RUNTIME_DIR": str(tmp_path / "run"),
            "BONDHU__MODELS__ACTIVE": "bondhu-demo",  # which needs no fetch
            "DATABASE_URL": f"postgresql://bondhu@127.0.0.1:{silent.getsockname()[1]}/bondhu",
        }
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND, "up", "--force"],
            env=environ,
            cwd=ROOT,
            text=True,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as up:
            silent.accept()
            os.killpg(up.pid, signal.SIGINT)
            _, errors = up.communicate(timeout=60)
    assert up.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "interrupted"
