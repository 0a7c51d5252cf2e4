"""Adapters are on every replica, also on one that replaces another; the first of a model comes when it is wanted."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.client_load import ClientLoad
from tests.support.local_stack import RECOVER_WITHIN_S, LocalStack
from tests.support.models.tiny_lora import write_lora
from tests.support.polling import eventually

BASE, ADAPTERS = "bondhu-demo", ("lora-first", "lora-second")
ON_DEMAND = "bondhu-demo-bf16"
ACTOR = f"ray::ServeReplica:engine-{BASE}"
SERVER = r"-m vllm\.entrypoints\.openai\.api_server"
PASSES = {"prompt": "Hi, how was your day?", "matches": ".", "max_tokens": 8}
WITHIN_S = 600.0


@pytest.fixture(scope="module", autouse=True)
def model_before(running_stack: LocalStack) -> Iterator[None]:
    """The same model before and after the tests of this file."""
    running_stack.until_ready()
    running_stack.configure(models={"active": BASE, "also": []})
    yield
    running_stack.configure(models={"active": BASE, "also": []})
    usual: dict[str, Any] = {"replicas": None, "autoscaling": None, "idle_s": None}
    running_stack.edit_model(
        BASE, adapter_slots=None, adapters=[], engine={"lora_target_modules": None}, deployment=usual
    )
    running_stack.edit_model(ON_DEMAND, checks=[], deployment=usual)
    restored = running_stack.bondhu("apply", "--replace", timeout_s=WITHIN_S)
    assert restored.returncode == 0, restored.stderr


def apply(stack: LocalStack, *options: str) -> str:
    """Apply the configuration; return what was reported."""
    applied = stack.bondhu("apply", *options, timeout_s=WITHIN_S)
    assert applied.returncode == 0, applied.stderr
    return applied.stderr


def ready(stack: LocalStack, model: str = BASE) -> list[dict[str, Any]]:
    """The replicas of a model that can answer."""
    return [each for each in stack.replicas() if (each["model"], each["state"]) == (model, "ready")]


def whole(stack: LocalStack) -> list[dict[str, Any]]:
    """Those of them that have every adapter."""
    return [each for each in ready(stack) if set(each["adapters"]) == set(ADAPTERS)]


def text_of(replica: dict[str, Any], adapter: str) -> str:
    """The greedy answer of an adapter on this replica."""
    body = {
        "model": replica["adapter_names"].get(adapter, adapter),
        "messages": [{"role": "user", "content": "Hi, how was your day?"}],
        "max_tokens": 12,
        "temperature": 0,
    }
    url, headers = f"{replica['address']}/v1/chat/completions", {"authorization": f"Bearer {replica['key']}"}
    answer = httpx.post(url, json=body, headers=headers, timeout=120).raise_for_status().json()
    return str(answer["choices"][0]["message"]["content"])


def chat(stack: LocalStack, model: str) -> httpx.Response:
    """One request."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi!"}], "max_tokens": 2}
    headers = {"authorization": f"Bearer {stack.api_key}", "cache-control": "no-cache"}
    return httpx.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=120)


@pytest.mark.slow  # for the time of make test
def test_two_replicas_have_all_adapters_also_when_one_is_killed(stack: LocalStack, tmp_path: Path) -> None:
    """Under load of both adapters: Ray makes another replica, which loads them before it is used; no request fails."""
    adapters = [
        {"id": name, "path": str(write_lora(tmp_path / name, seed=seed))} for seed, name in enumerate(ADAPTERS, 1)
    ]
    target_modules = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    stack.edit_model(
        BASE,
        adapter_slots=2,
        adapters=adapters,
        engine={"lora_target_modules": target_modules},
        deployment={"replicas": 2},
    )
    apply(stack, "--replace")
    before = eventually(lambda: (found := whole(stack))[1:] and found, RECOVER_WITHIN_S, "two replicas with all")
    texts = [[text_of(replica, adapter) for adapter in ADAPTERS] for replica in before]
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[0][1]
    with ExitStack() as loads:
        running = [loads.enter_context(ClientLoad(stack, adapter, clients=2)) for adapter in ADAPTERS]
        for load in running:
            load.until_answered(4)
        stack.processes(ACTOR)[0].kill()
        was = {replica["replica_id"] for replica in before}
        eventually(lambda: {each["replica_id"] for each in whole(stack)} != was, 120, "the loss to be noticed")
        eventually(lambda: len(whole(stack)) == 2, RECOVER_WITHIN_S, "another replica with all adapters")
        for load in running:
            load.until_answered(4)
    assert [load.failures for load in running] == [[], []]
    assert {each["replica_id"] for each in whole(stack)} != was
    assert [[text_of(replica, adapter) for adapter in ADAPTERS] for replica in whole(stack)] == texts


@pytest.mark.slow  # for the time of make test
def test_an_idle_model_has_no_replica_until_a_request_wants_it(stack: LocalStack) -> None:
    """It is checked all the same when it comes; Ray then removes its replica, and a request makes another."""
    scaling = {"min_replicas": 0, "max_replicas": 1, "target_load": 4, "upscale_delay_s": 0, "downscale_delay_s": 2}
    stack.edit_model(ON_DEMAND, checks=[PASSES], deployment={"autoscaling": scaling, "idle_s": 5})
    stack.configure(models={"active": BASE, "also": [ON_DEMAND]})
    reported = apply(stack)
    assert f"waking engine-{ON_DEMAND}-" in reported
    assert f"check 1 of {ON_DEMAND}" in reported
    eventually(lambda: not [each for each in stack.replicas() if each["model"] == ON_DEMAND], 180, "no replica")
    eventually(lambda: len(stack.processes(SERVER)) == len(ready(stack)), 60, "its process to be gone")
    assert stack.is_ready()
    first = chat(stack, ON_DEMAND)
    assert first.status_code == 200 or int(first.headers["retry-after"]) >= 1, first.text
    eventually(lambda: chat(stack, ON_DEMAND).status_code == 200, RECOVER_WITHIN_S, "an answer", every_s=1)
    eventually(lambda: ready(stack, ON_DEMAND), 60, "its replica to be known")
