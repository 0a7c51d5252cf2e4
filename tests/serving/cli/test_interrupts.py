"""Ctrl-C ends `bondhu up` wherever it happens to be, also where Python drops exceptions."""

import signal
import subprocess
import sys

import pytest

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
