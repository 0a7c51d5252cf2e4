"""However a stack ends, nothing of it is left: no process, no port, no shared memory, no socket.

The last file of this folder: it ends the stack of the whole run and starts others that it ends in other ways.
"""

import signal

import httpx
import pytest

from tests.support.client_load import SHORT
from tests.support.local_stack import ENGINE_CORE, START_WITHIN_S, LocalStack
from tests.support.polling import eventually

GONE_WITHIN_S = 60.0


def until_an_engine_starts(stack: LocalStack) -> None:
    """Return once an engine's core exists, which is in the middle of a start."""
    eventually(lambda: stack.processes(ENGINE_CORE), START_WITHIN_S, "an engine to start", every_s=0.05)


def end_of(stack: LocalStack) -> int:
    """The exit status of `bondhu up`, which ends when its stack has."""
    assert stack.process is not None
    return stack.process.wait(GONE_WITHIN_S)


def test_down_leaves_nothing(running_stack: LocalStack) -> None:
    """After `bondhu down` returns all is gone, `bondhu up` has ended well, and another `down` finds nothing to do."""
    running_stack.until_ready()
    running_stack.replicas()
    stopped = running_stack.bondhu("down")
    assert stopped.returncode == 0, stopped.stderr
    assert end_of(running_stack) == 0
    running_stack.until_gone()
    assert "not running" in running_stack.bondhu("down").stdout


def test_a_stack_that_is_down_says_so(running_stack: LocalStack) -> None:
    """`bondhu status` and `bondhu apply` of a stack that does not run say that, with a status of its own."""
    for command in ("status", "apply"):
        assert running_stack.bondhu(command).returncode == 4


def test_an_interrupted_start_leaves_nothing(running_stack: LocalStack) -> None:
    """While an engine loads, requests are told to come back; Ctrl-C meanwhile ends everything."""
    running_stack.launch()
    until_an_engine_starts(running_stack)
    headers = {"authorization": f"Bearer {running_stack.api_key}"}
    early = httpx.post(f"{running_stack.url}/v1/chat/completions", json=SHORT | {"model": "bondhu"}, headers=headers)
    assert (early.status_code, early.json()["error"]["code"]) == (503, "model_not_ready")
    assert int(early.headers["retry-after"]) >= 1
    assert running_stack.process is not None
    running_stack.process.send_signal(signal.SIGINT)
    assert end_of(running_stack) in (0, 130)
    running_stack.until_gone()


@pytest.mark.slow  # for the time of make test
def test_a_killed_supervisor_leaves_nothing(running_stack: LocalStack) -> None:
    """When the supervisor is killed, everything ends, and `bondhu up` ends with an error."""
    running_stack.launch()
    until_an_engine_starts(running_stack)
    running_stack.kill(r"-m serving\.supervisor\.supervisor")
    assert end_of(running_stack) != 0
    running_stack.until_gone(GONE_WITHIN_S)


@pytest.mark.slow  # for the time of make test
def test_a_killed_start_command_leaves_nothing(running_stack: LocalStack) -> None:
    """When `bondhu up` itself is killed, everything ends, and the next start finds its ports free."""
    running_stack.launch()
    until_an_engine_starts(running_stack)
    assert running_stack.process is not None
    running_stack.process.kill()
    running_stack.process.wait()
    running_stack.until_gone(GONE_WITHIN_S)
