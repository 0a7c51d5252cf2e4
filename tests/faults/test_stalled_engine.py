"""An engine whose step does not end is ended and started again by its replica in Ray, and so are its requests ended.

On a stack of its own, whose models have no timeouts for what an engine sends: whatever ends a request is the recycling.
"""

import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.support.faults.seen import Asking
from tests.support.local_stack import ENGINE_CORE, LocalStack, is_alive
from tests.support.polling import eventually

STEP_TIMEOUT_S = 8
RECYCLED_WITHIN_S = 300.0  # an engine boots, beside whatever else keeps the machine busy
FREE_WITHIN_S = 30.0
CLEAR = {"engine_error", "model_not_ready", "engine_timeout"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stalling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack whose engine may take eight seconds for a step."""
    stack = LocalStack(tmp_path_factory.mktemp("stalling"))
    stack.env["BONDHU__EMBEDDER__ENABLED"] = "false"
    stack.edit_model("bondhu-demo", deployment={"step_timeout_s": STEP_TIMEOUT_S}, fallback=[])
    stack.up()
    yield stack
    stopped = stack.bondhu("down")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    stack.until_gone()


def stopped_core(stack: LocalStack) -> psutil.Process:
    """The engine's core, which does not go on from now on."""
    (core,) = stack.processes(ENGINE_CORE)
    core.send_signal(signal.SIGSTOP)
    return core


def recycled(stack: LocalStack, core: psutil.Process, epoch: int) -> dict[str, object]:
    """Wait for the engine's next start; its report."""

    def look() -> dict[str, object] | None:
        ready = [each for each in stack.replicas() if each["state"] == "ready" and each["epoch"] > epoch]
        return ready[0] if ready else None

    after = eventually(look, RECYCLED_WITHIN_S, "the engine to be started again")
    assert after is not None
    assert not is_alive(core)
    return after


def test_a_step_that_does_not_end_ends_its_requests_and_the_engine_is_recycled(stalling: LocalStack) -> None:
    """A stream in the middle, a whole answer and one that is constrained: each is told; then the service answers."""
    (before,) = stalling.replicas()
    url, key = stalling.url, stalling.api_key
    constrained = {"structured_outputs": {"regex": "(a|b){1500}"}, "max_tokens": 1500}
    stream = Asking(url, key, max_tokens=1900, n=4, ignore_eos=True)
    whole = Asking(url, key, max_tokens=1900, n=4, ignore_eos=True, stream=False)
    stream.until_begun()
    eventually(lambda: stalling.unfinished() == 8, FREE_WITHIN_S, "both to be in the engine", every_s=0.02)
    core = stopped_core(stalling)
    late = Asking(url, key, stream=False, **constrained)
    for each in (stream, whole, late):
        assert each.done().code in CLEAR, each.seen
        assert not each.seen.is_whole
    after = recycled(stalling, core, before["epoch"])
    assert (after["replica_id"], after["epoch"]) == (before["replica_id"], before["epoch"] + 1)
    stalling.until_ready()
    assert Asking(url, key, max_tokens=4, stream=False).done().is_whole
    assert "vLLM was stopped because it hung" in stalling.bondhu("logs", "engine", "-n", "10000").stdout


def test_an_engine_that_stops_while_it_has_nothing_to_do_is_recycled(stalling: LocalStack) -> None:
    """Its numbers, which are as old as its last step, say that it has no work; requests that come meanwhile end."""
    eventually(lambda: stalling.unfinished() == 0, FREE_WITHIN_S, "an idle engine")
    (before,) = stalling.replicas()
    core = stopped_core(stalling)
    asking = Asking(stalling.url, stalling.api_key, max_tokens=4, stream=False)
    after = recycled(stalling, core, before["epoch"])
    assert (after["replica_id"], after["epoch"]) == (before["replica_id"], before["epoch"] + 1)
    assert asking.done().code in CLEAR, asking.seen
    stalling.until_ready()
    assert Asking(stalling.url, stalling.api_key, max_tokens=4, stream=False).done().is_whole
