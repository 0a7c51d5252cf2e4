"""A swap is a transaction: a new engine answers people only after it has passed its checks, and can be taken back.

The tests build on one another; at the end the quantised model is active, as before.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import InternalServerError, OpenAI

from tests.support.client_load import ClientLoad
from tests.support.local_stack import ENGINE_CORE, LocalStack, status
from tests.support.polling import eventually

OLD, NEW, BROKEN = "bondhu-demo", "bondhu-demo-bf16", "bondhu-broken"
QUESTION = "Hi, how was your day?"
HELLO: Any = [{"role": "user", "content": QUESTION}]
DEFAULT_RETRY_AFTER_S = 5  # gateway.retry_after_s
WITHIN_S = 600.0
PASSES = {"prompt": QUESTION, "matches": ".", "max_tokens": 8}
Applying = Future[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def model_before(running_stack: LocalStack) -> Iterator[None]:
    """The same model before and after the tests of this file."""
    running_stack.until_ready()
    running_stack.configure(models={"active": OLD, "also": []})
    applied = running_stack.bondhu("apply", timeout_s=WITHIN_S)
    assert applied.returncode == 0, applied.stderr
    yield
    (running_stack.root / f"configs/models/{BROKEN}.yaml").unlink(missing_ok=True)
    running_stack.configure(models={"active": OLD, "also": []})
    running_stack.edit_model(NEW, checks=[], canary=None)
    restored = running_stack.bondhu("apply", timeout_s=WITHIN_S)
    assert restored.returncode == 0, restored.stderr


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """What runs an apply beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def boots(stack: LocalStack) -> set[tuple[str, int]]:
    """Which starts of which engine replicas exist."""
    return {(replica["replica_id"], replica["epoch"]) for replica in stack.replicas()}


def versions(stack: LocalStack) -> dict[str, dict[str, Any]]:
    """What `bondhu status` says of each model's version."""
    return {each["model"]: each for each in status(stack)["versions"]}


def shown_by_ray(stack: LocalStack) -> dict[str, dict[str, Any]]:
    """What Ray's dashboard shows of each model's version, whose engine is an application of its own there."""
    applications = stack.applications()
    directory = applications["directory"]["deployments"]["Directory"]["deployment_config"]["user_config"]
    shown = {each["model"]: each for each in directory["versions"]}
    for each in shown.values():
        assert f"engine-{each['model']}-{each['fingerprint']}" in applications
    return shown


def shares(stack: LocalStack) -> dict[str, float]:
    """The share of each model by the routing table."""
    return {each["model"]: each["share"] for each in stack.directory()["routing"]["versions"]}


def answered_by(load: ClientLoad) -> set[str]:
    """The models that answered."""
    return {label.partition(";")[0] for met in load.answered_by for label in met}


def still(applying: Applying) -> None:
    """Fail with what the apply said if it has ended."""
    assert not applying.done(), applying.result().stdout + applying.result().stderr


def test_a_model_that_fails_a_check_gets_no_request(stack: LocalStack) -> None:
    """The old one goes on, and the report says which check failed, with both texts."""
    before = boots(stack)
    fails = {"prompt": "What is your name?", "contains": ["xylophone quartet"], "max_tokens": 8}
    stack.edit_model(NEW, checks=[PASSES, fails])
    stack.configure(models={"active": NEW})
    with ClientLoad(stack, "bondhu", clients=2) as load:
        refused = stack.bondhu("apply", timeout_s=WITHIN_S)
    assert refused.returncode == 1
    assert "check 1" in refused.stderr
    assert "passed" in refused.stderr
    for part in ("check 2", "What is your name?", "'xylophone quartet'", "new: ", "now: ", "goes on"):
        assert part in refused.stderr
    assert load.failures == []
    assert answered_by(load) == {OLD}
    eventually(lambda: boots(stack) == before, 120, "the new engine to be gone")
    assert set(versions(stack)) == {OLD}
    (newest, *_) = json.loads(stack.bondhu("history", "--json").stdout)
    assert (newest["action"], "check 2" in newest["failure"]) == ("apply", True)


def test_a_canary_that_fails_requests_goes_back_by_itself(stack: LocalStack, background: ThreadPoolExecutor) -> None:
    """Status and dashboard tell the shares meanwhile; when the new engine dies, nobody notices but the apply."""
    lasts_until_one_fails = {"share": 0.5, "minutes": 5, "max_errors": 0, "max_ttft_ratio": 1000, "min_requests": 1}
    stack.edit_model(NEW, checks=[PASSES], canary=lasts_until_one_fails)
    stack.configure(models={"active": NEW})
    with ClientLoad(stack, "bondhu", clients=4) as load:
        applying = background.submit(stack.bondhu, "apply", env={"BONDHU_CHANGED_BY": "maya"}, timeout_s=900)
        eventually(lambda: still(applying) or shares(stack) == {OLD: 0.5, NEW: 0.5}, WITHIN_S, "the canary")
        eventually(lambda: still(applying) or answered_by(load) == {OLD, NEW}, WITHIN_S, "answers of both")
        told = versions(stack)
        assert told == shown_by_ray(stack)
        assert (told[NEW]["share"], told[NEW]["by"], told[OLD]["share"]) == (0.5, "maya", 0.5)
        stack.processes(ENGINE_CORE)[-1].kill()
        refused = applying.result()
        load.until_answered(4)
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "canary: " in refused.stderr
    assert "more of its requests fail (at most 0%)" in refused.stderr
    assert "goes on" in refused.stderr
    assert load.failures == []
    assert shares(stack) == {OLD: 1.0}
    assert "canary" in json.loads(stack.bondhu("history", "--json").stdout)[0]["failure"]
    eventually(lambda: [each["model"] for each in stack.replicas()] == [OLD], 120, "the new engine to be gone")


def test_a_canary_that_does_well_gets_all_and_can_be_rolled_back(stack: LocalStack) -> None:
    """`bondhu status` and `bondhu history` tell it; `bondhu rollback` brings the old one back, also under load."""
    stack.edit_model(NEW, checks=[{**PASSES, "max_slowdown": 100}], canary=None)
    stack.configure(models={"active": NEW})
    with ClientLoad(stack, "bondhu", clients=2) as load:
        changed = ("apply", "--canary", "50%", "--minutes", "0.05")
        applied = stack.bondhu(*changed, env={"BONDHU_CHANGED_BY": "maya"}, timeout_s=WITHIN_S)
        assert applied.returncode == 0, applied.stderr
        assert "canary: 50.0%" in applied.stderr
        load.until_all_have_met(NEW)
        told = versions(stack)
        assert told == shown_by_ray(stack)
        assert [(each["model"], each["share"], each["by"]) for each in told.values()] == [(NEW, 1.0, "maya")]
        assert told[NEW]["fingerprint"] == stack.replicas()[0]["fingerprint"]
        back = stack.bondhu("rollback", timeout_s=WITHIN_S)
        assert back.returncode == 0, back.stderr
        load.until_all_have_met(OLD)
    stack.configure(models={"active": OLD})
    assert load.failures == []
    for met in load.answered_by:
        assert (met[0].endswith("quantization=W8A8"), met[-1]) == (True, met[0])
        assert {label.rpartition("; ")[2] for label in met} == {"quantization=W8A8", "quantization=none"}
    assert set(versions(stack)) == {OLD}
    assert status(stack)["open_to_others"] == [], "what an apply writes is its user's alone"
    rows = json.loads(stack.bondhu("history", "--json").stdout)
    assert [(row["action"], row["failure"]) for row in rows[:2]] == [("rollback", None), ("apply", None)]
    assert rows[1]["by"] == "maya"
    assert stack.bondhu("apply", "--plan").stdout.endswith("nothing to change\n")


@pytest.mark.slow  # for the time of make test
def test_a_failed_start_without_room_brings_the_old_model_back(
    stack: LocalStack, background: ThreadPoolExecutor, outgoing: OpenAI, tmp_path: Path
) -> None:
    """With `--replace` the old engine stops first; meanwhile a client is told when to come again.

    One whose requests may leave the machine gets its answers of the fallback chain.
    """
    broken = tmp_path / "broken-model"
    shutil.copytree(stack.root / "models/demo/quantised", broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    shutil.copy(stack.root / f"configs/models/{OLD}.yaml", stack.root / f"configs/models/{BROKEN}.yaml")
    stack.edit_model(BROKEN, id=BROKEN, path=str(broken))
    stack.configure(models={"active": BROKEN})
    headers = {"authorization": f"Bearer {stack.api_key}"}
    body = {"model": "bondhu", "messages": HELLO, "max_tokens": 2}
    refusals: list[httpx.Response] = []
    outside: set[str] = set()

    def chat() -> httpx.Response:
        return httpx.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def chat_outside() -> str:
        answer = outgoing.chat.completions.with_raw_response.create(model="bondhu", messages=HELLO, max_tokens=2)
        return answer.headers["x-bondhu-model"].partition(";")[0]

    applying = background.submit(stack.bondhu, "apply", "--replace", timeout_s=900)
    while not applying.done():
        if (answer := chat()).status_code != 200:
            refusals.append(answer)
            with suppress(InternalServerError):  # between two routing tables
                outside.add(chat_outside())
        time.sleep(0.5)
    refused = applying.result()
    stack.configure(models={"active": OLD})
    assert refused.returncode == 1
    assert "safetensors" in refused.stderr.lower()
    assert "serves again" in refused.stderr
    stack.until_ready()
    assert chat().headers["x-bondhu-model"].startswith(OLD)
    assert {answer.status_code for answer in refusals} == {503}
    assert "gemini" in outside
    waits = [int(answer.headers["retry-after"]) for answer in refusals]
    assert max(waits) > DEFAULT_RETRY_AFTER_S, "what is known of the old engine's start is told"
    assert stack.bondhu("apply", "--plan").stdout.endswith("nothing to change\n")
