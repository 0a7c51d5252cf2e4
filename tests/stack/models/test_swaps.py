"""A swap is a transaction: a new engine answers people only after it has passed its checks, and can be taken back.

The tests build on one another; at the end the quantised model is active, as before.
"""

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.client_load import ClientLoad
from tests.support.local_stack import LocalStack, status
from tests.support.polling import eventually

pytestmark = pytest.mark.slow  # for the time of make test: tests/serving/cluster/test_rollout.py has the order of steps

OLD, NEW = "bondhu-demo", "bondhu-demo-bf16"
QUESTION = "Hi, how was your day?"
DEFAULT_RETRY_AFTER_S = 5  # gateway.retry_after_s


@pytest.fixture(scope="module", autouse=True)
def model_before(running_stack: LocalStack) -> Iterator[None]:
    """The same model before and after the tests of this file."""
    running_stack.until_ready()
    yield
    running_stack.configure(models={"active": OLD, "also": []})
    running_stack.edit_model(NEW, checks=[], canary=None)
    running_stack.edit_model(OLD, checks=[], canary=None)
    restored = running_stack.bondhu("apply", timeout_s=600)
    assert restored.returncode == 0, restored.stderr


def boots(stack: LocalStack) -> set[tuple[str, int]]:
    """Which starts of which engine replicas exist."""
    return {(replica["replica_id"], replica["epoch"]) for replica in stack.replicas()}


def versions(stack: LocalStack) -> dict[str, dict[str, Any]]:
    """What `bondhu status` says of each model's version."""
    return {each["model"]: each for each in status(stack)["versions"]}


def test_a_model_that_fails_a_check_gets_no_request(stack: LocalStack) -> None:
    """The old one goes on, and the report says which check failed, with both texts."""
    before = boots(stack)
    checks = [
        {"prompt": QUESTION, "matches": ".", "max_tokens": 8},
        {"prompt": "What is your name?", "contains": ["xylophone quartet"], "max_tokens": 8},
    ]
    stack.edit_model(NEW, checks=checks)
    stack.configure(models={"active": NEW})
    with ClientLoad(stack, "bondhu", clients=2) as load:
        refused = stack.bondhu("apply", timeout_s=600)
    stack.configure(models={"active": OLD})
    assert refused.returncode == 1
    assert "check 1" in refused.stderr
    assert "passed" in refused.stderr
    for part in ("check 2", "What is your name?", "'xylophone quartet'", "new: ", "now: ", "goes on"):
        assert part in refused.stderr
    assert load.failures == []
    assert {label.partition(";")[0] for met in load.answered_by for label in met} == {OLD}
    eventually(lambda: boots(stack) == before, 120, "the new engine to be gone")
    assert set(versions(stack)) == {OLD}


def test_a_swap_is_recorded_and_can_be_rolled_back(stack: LocalStack) -> None:
    """`bondhu status` and `bondhu history` tell it; `bondhu rollback` brings the old one back, also under load."""
    stack.edit_model(NEW, checks=[{"prompt": QUESTION, "matches": ".", "max_slowdown": 100, "max_tokens": 8}])
    stack.configure(models={"active": NEW})
    with ClientLoad(stack, "bondhu", clients=2) as load:
        applied = stack.bondhu("apply", env={"BONDHU_CHANGED_BY": "maya"}, timeout_s=600)
        assert applied.returncode == 0, applied.stderr
        load.until_all_have_met(NEW)
        (found,) = versions(stack).values()
        assert (found["model"], found["share"], found["by"]) == (NEW, 1.0, "maya")
        assert found["fingerprint"] == stack.replicas()[0]["fingerprint"]
        back = stack.bondhu("rollback", timeout_s=600)
        assert back.returncode == 0, back.stderr
        load.until_all_have_met(OLD)
    stack.configure(models={"active": OLD})
    assert load.failures == []
    assert set(versions(stack)) == {OLD}
    rows = json.loads(stack.bondhu("history", "--json").stdout)
    assert [(row["action"], row["failure"]) for row in rows[:2]] == [("rollback", None), ("apply", None)]
    assert rows[1]["by"] == "maya"
    assert "check 2" in rows[2]["failure"]
    assert stack.bondhu("apply", "--plan").stdout.endswith("nothing to change\n")


def test_a_canary_that_does_worse_goes_back_by_itself(stack: LocalStack) -> None:
    """A share of the requests goes to the new engine, and none again once its first tokens come too late."""
    stack.edit_model(
        NEW,
        checks=[],
        canary={"share": 0.5, "minutes": 5, "max_ttft_ratio": 0.01, "min_requests": 3},  # whatever it does is worse
    )
    stack.configure(models={"active": NEW})
    with ClientLoad(stack, "bondhu", clients=4) as load:
        refused = stack.bondhu("apply", timeout_s=900)
    stack.configure(models={"active": OLD})
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "canary" in refused.stderr
    assert "first token after" in refused.stderr
    assert load.failures == []
    met = {label.partition(";")[0] for met in load.answered_by for label in met}
    assert met == {OLD, NEW}
    assert set(versions(stack)) == {OLD}
    eventually(lambda: [each["model"] for each in stack.replicas()] == [OLD], 120, "the new engine to be gone")


def test_a_failed_start_without_room_brings_the_old_model_back(stack: LocalStack, tmp_path: Path) -> None:
    """With `--replace` the old engine stops first; meanwhile a client is told when to come again."""
    broken = tmp_path / "broken-model"
    shutil.copytree(stack.root / "models/demo/quantised", broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    shutil.copy(stack.root / f"configs/models/{OLD}.yaml", stack.root / "configs/models/bondhu-broken.yaml")
    stack.edit_model("bondhu-broken", id="bondhu-broken", path=str(broken), fallback=[])
    stack.configure(models={"active": "bondhu-broken"})
    headers = {"authorization": f"Bearer {stack.api_key}"}
    body = {"model": "bondhu", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 2}
    refusals: list[httpx.Response] = []

    def chat() -> httpx.Response:
        return httpx.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(stack.bondhu, "apply", "--replace", timeout_s=900)
        while not applying.done():
            if (answer := chat()).status_code != 200:
                refusals.append(answer)
            time.sleep(1)
    refused = applying.result()
    stack.configure(models={"active": OLD})
    (stack.root / "configs/models/bondhu-broken.yaml").unlink()
    assert refused.returncode == 1
    assert "safetensors" in refused.stderr.lower()
    assert "serves again" in refused.stderr
    stack.until_ready()
    assert chat().headers["x-bondhu-model"].startswith(OLD)
    assert {answer.status_code for answer in refusals} == {503}
    waits = [int(answer.headers["retry-after"]) for answer in refusals]
    assert max(waits) > DEFAULT_RETRY_AFTER_S, "what is known of the old engine's start is told"
    assert stack.bondhu("apply", "--plan").stdout.endswith("nothing to change\n")
