"""An engine without requests sleeps, stays a model id, and is woken by the first request."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.local_stack import RECOVER_WITHIN_S, LocalStack
from tests.support.polling import eventually

MODEL = "bondhu-demo"
IDLE_S = 5
SERVER = r"-m vllm\.entrypoints\.openai\.api_server"


@pytest.fixture(scope="module", autouse=True)
def sleepy(running_stack: LocalStack) -> Iterator[None]:
    """The model may sleep while the tests of this file run; that needs no restart, neither now nor at the end."""
    running_stack.until_ready()
    epochs = [replica["epoch"] for replica in running_stack.replicas()]
    running_stack.edit_model(MODEL, deployment={"idle_s": IDLE_S})
    applied = running_stack.bondhu("apply")
    assert applied.returncode == 0, applied.stderr
    assert [replica["epoch"] for replica in running_stack.replicas()] == epochs
    yield
    running_stack.edit_model(MODEL, deployment={"idle_s": None})
    restored = running_stack.bondhu("apply")
    assert restored.returncode == 0, restored.stderr
    chat(running_stack)
    eventually(lambda: state(running_stack) == "ready", RECOVER_WITHIN_S, "the engine to be awake")


def state(stack: LocalStack) -> str:
    """What the replica reports."""
    (replica,) = stack.replicas()
    return str(replica["state"])


def chat(stack: LocalStack) -> httpx.Response:
    """One request for the alias."""
    body: dict[str, Any] = {"model": "bondhu", "messages": [{"role": "user", "content": "Hi!"}], "max_tokens": 2}
    headers = {"authorization": f"Bearer {stack.api_key}", "cache-control": "no-cache"}
    return httpx.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=120)


def listed(stack: LocalStack) -> dict[str, Any]:
    """What `bondhu models list` says of the model."""
    rows = json.loads(stack.bondhu("models", "list", "--json").stdout)
    (row,) = [row for row in rows if row["id"] == MODEL]
    live: dict[str, Any] = row["live"]
    return live


def test_an_idle_engine_sleeps_and_a_request_wakes_it(stack: LocalStack) -> None:
    """Its process ends, the service stays ready; a request gets an answer, or is told how long waking takes."""
    eventually(lambda: state(stack) == "asleep", 120, "the engine to sleep")
    eventually(lambda: not stack.processes(SERVER), 60, "its process to be gone")
    assert stack.is_ready()
    eventually(lambda: listed(stack)["memory_bytes"] == 0, 60, "its memory to be free")
    assert listed(stack)["state"] == "asleep"
    first = chat(stack)
    assert first.status_code == 200 or int(first.headers["retry-after"]) >= 1, first.text
    eventually(lambda: chat(stack).status_code == 200, RECOVER_WITHIN_S, "an answer of the engine", every_s=1)
    (replica,) = stack.replicas()
    assert replica["epoch"] > 1
    assert listed(stack)["last_used_s"] < RECOVER_WITHIN_S


def test_ray_is_told_of_the_load_that_it_scales_by(stack: LocalStack) -> None:
    """Serve only logs it when a replica cannot tell."""
    logs = list((stack.runtime_dir / "ray/session_latest/logs/serve").glob("replica_engine-*.log"))
    assert logs
    assert [log.name for log in logs if "autoscaling stats failed" in log.read_text(errors="replace")] == []
