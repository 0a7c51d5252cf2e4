"""Ray scales engines on what they say they have in hand, since these requests never pass Serve's own router."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.client_load import ClientLoad
from tests.support.local_stack import ENGINE_CORE, LocalStack
from tests.support.polling import eventually

MODEL = "bondhu-demo-bf16"
SCALES_WITHIN_S = 300.0  # the start of an engine, on two cores that are busy with the load
SCALING = {"min_replicas": 1, "max_replicas": 2, "target_load": 1, "upscale_delay_s": 2, "downscale_delay_s": 10}


def ready_replicas(stack: LocalStack) -> int:
    """How many engine replicas can answer."""
    return sum(replica["state"] == "ready" for replica in stack.replicas())


@contextmanager
def scaling(stack: LocalStack) -> Iterator[None]:
    """Within it the model scales; afterwards it has one replica again."""
    stack.edit_model(MODEL, deployment={"autoscaling": SCALING})
    applied = stack.bondhu("apply", timeout_s=600)
    assert applied.returncode == 0, applied.stderr
    try:
        yield
    finally:
        stack.edit_model(MODEL, deployment={"autoscaling": None})
        assert stack.bondhu("apply").returncode == 0
        eventually(lambda: len(stack.replicas()) == 1, SCALES_WITHIN_S, "one replica to be left")


@pytest.mark.slow  # two and a half minutes: left out of make test
def test_load_adds_a_replica_and_its_end_takes_one_away(stack: LocalStack) -> None:
    """More requests in hand than wanted start a second engine, fewer stop one, and no request fails meanwhile.

    Nor does one when one of the two is killed: the other answers what had no token yet, and goes on with the streams.
    """
    stack.configure(models={"active": MODEL})
    with scaling(stack):
        with ClientLoad(stack, "bondhu", clients=6) as heavy:
            eventually(lambda: ready_replicas(stack) == 2, SCALES_WITHIN_S, "a second replica")
            eventually(lambda: min(replica["running"] for replica in stack.replicas()) > 0, 60, "both to be used")
            stack.processes(ENGINE_CORE)[0].kill()
            heavy.until_answered(20)
        assert heavy.failures == []
        with ClientLoad(stack, "bondhu", clients=1) as light:
            eventually(lambda: len(stack.replicas()) == 1, SCALES_WITHIN_S, "one replica to go")
        assert light.failures == []
        assert light.answered > 0
