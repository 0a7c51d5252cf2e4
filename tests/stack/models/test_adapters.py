"""Adapters come and go with `bondhu apply`, while the engine runs and clients chat with its others.

The tests build on one another; at the end the model is as before.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import NotFoundError, OpenAI

from tests.fetch.hub_server import HubServer
from tests.support.client_load import ClientLoad
from tests.support.local_stack import LocalStack
from tests.support.models.tiny_lora import write_lora
from tests.support.polling import eventually

BASE, FIRST, SECOND = "bondhu-demo", "lora-first", "lora-second"
HELLO: Any = [{"role": "user", "content": "Hi, how was your day?"}]


def entry(name: str, path: Path) -> dict[str, str]:
    """An entry of `adapters`."""
    return {"id": name, "path": str(path)}


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters, and one whose rank is too high."""
    folder = tmp_path_factory.mktemp("loras")
    made = {name: write_lora(folder / name, seed=seed) for seed, name in enumerate((FIRST, SECOND), 1)}
    return {**made, "large": write_lora(folder / "large", seed=3, rank=64)}


@pytest.fixture(scope="module", autouse=True)
def model_for_adapters(running_stack: LocalStack) -> Iterator[None]:
    """The model takes adapters while the tests of this file run."""
    running_stack.until_ready()
    target_modules = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    running_stack.configure(models={"active": BASE})
    running_stack.edit_model(BASE, adapter_slots=2, adapters=[], engine={"lora_target_modules": target_modules})
    applied = running_stack.bondhu("apply", timeout_s=600)
    assert applied.returncode == 0, applied.stderr
    yield
    running_stack.edit_model(BASE, adapter_slots=None, adapters=[], engine={"lora_target_modules": None})
    restored = running_stack.bondhu("apply", timeout_s=600)
    assert restored.returncode == 0, restored.stderr


def apply(stack: LocalStack, *adapters: dict[str, str]) -> None:
    """Make these the model's adapters."""
    stack.edit_model(BASE, adapters=list(adapters))
    applied = stack.bondhu("apply", timeout_s=300)
    assert applied.returncode == 0, applied.stderr


def boots(stack: LocalStack) -> set[tuple[str, int]]:
    """Which starts of which engine replicas exist."""
    return {(replica["replica_id"], replica["epoch"]) for replica in stack.replicas()}


def text_of(client: OpenAI, model: str) -> tuple[str, str]:
    """A greedy answer of a model, and the label of what answered."""
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO, max_tokens=12, temperature=0)
    answer = raw.parse()
    assert answer.model == model
    return answer.choices[0].message.content or "", raw.headers["x-bondhu-model"]


def test_two_adapters_come_under_load_without_a_restart(
    stack: LocalStack, client: OpenAI, loras: dict[str, Path]
) -> None:
    """They are listed, each answers in its own words under its own revision, and no client of the base notices."""
    before = boots(stack)
    with ClientLoad(stack, BASE, clients=2) as load:
        apply(stack, entry(FIRST, loras[FIRST]), entry(SECOND, loras[SECOND]))
        load.until_answered(2)
    assert load.failures == []
    assert boots(stack) == before
    assert {BASE, FIRST, SECOND} <= {model.id for model in client.models.list()}
    told = {model: text_of(client, model) for model in (BASE, FIRST, SECOND)}
    assert len({text for text, _ in told.values()}) == 3, told
    labels = {model: label for model, (_, label) in told.items()}
    assert labels[FIRST].startswith(f"{FIRST}; adapter=")
    assert f"base={BASE}; revision=" in labels[FIRST]
    assert labels[FIRST].split(";")[1] != labels[SECOND].split(";")[1]


def test_both_answer_at_once_each_as_itself(stack: LocalStack, client: OpenAI) -> None:
    """Clients of both adapters and of the base, in the same batches."""
    with ExitStack() as loads:
        running = [loads.enter_context(ClientLoad(stack, model, clients=2)) for model in (BASE, FIRST, SECOND)]
        for load in running:
            load.until_answered(4)
    assert [load.failures for load in running] == [[], [], []]
    for load, model in zip(running, (BASE, FIRST, SECOND), strict=True):
        assert {label.partition(";")[0] for met in load.answered_by for label in met} == {model}


def test_the_ledger_tells_adapter_and_base(stack: LocalStack, client: OpenAI) -> None:
    """A request's row has the adapter as its model, and both revisions."""
    raw = client.chat.completions.with_raw_response.create(model=FIRST, messages=HELLO, max_tokens=2)
    request_id = raw.headers["x-request-id"]
    headers = {"authorization": f"Bearer {stack.api_key}"}

    def row() -> dict[str, Any] | None:
        answer = httpx.get(f"{stack.url}/v1/usage/{request_id}", headers=headers, timeout=10)
        return answer.json() if answer.status_code == 200 and answer.json()["status"] == "ended" else None

    eventually(row, 20, "the request's row")
    found = row()
    assert found is not None
    (segment,) = found["segments"]
    assert (segment["model"], segment["base"]) == (FIRST, BASE)
    assert segment["adapter"] != segment["revision"]
    assert f"adapter={segment['adapter']}" in raw.headers["x-bondhu-model"]


def test_a_killed_engine_comes_back_with_its_adapters(stack: LocalStack, client: OpenAI) -> None:
    """It is restarted in place, and loads them before it is listed with them."""
    before = {model: text_of(client, model) for model in (FIRST, SECOND)}
    stack.kill(r"-m vllm\.entrypoints\.openai\.api_server")
    eventually(lambda: not stack.is_ready(), 60, "the loss to be noticed")
    stack.until_ready()
    eventually(
        lambda: {FIRST, SECOND} <= {model.id for model in client.models.list()}, 60, "both adapters to be listed"
    )
    assert {model: text_of(client, model) for model in (FIRST, SECOND)} == before


def test_an_adapter_that_does_not_fit_changes_nothing(stack: LocalStack, loras: dict[str, Path]) -> None:
    """It is refused with the reason, before anything is sent to the cluster."""
    before = stack.directory()["routing"]
    kept = [entry(FIRST, loras[FIRST]), entry(SECOND, loras[SECOND])]
    stack.edit_model(BASE, adapters=[*kept, entry("lora-large", loras["large"])])
    refused = stack.bondhu("apply")
    stack.edit_model(BASE, adapters=kept)
    assert refused.returncode == 2, refused.stderr
    assert "lora-large" in refused.stderr
    assert "rank 64 is above the bound" in refused.stderr
    assert stack.directory()["routing"] == before


def test_other_weights_of_an_adapter_are_taken_over_under_load(
    stack: LocalStack, client: OpenAI, loras: dict[str, Path]
) -> None:
    """The same id, another revision: no client of it gets an error, and afterwards the new one answers."""
    old_text, old_label = text_of(client, FIRST)
    before = boots(stack)
    write_lora(loras[FIRST], seed=9)
    with ClientLoad(stack, FIRST, clients=2) as load:
        apply(stack, entry(FIRST, loras[FIRST]), entry(SECOND, loras[SECOND]))
        load.until_answered(4)
    assert load.failures == []
    assert boots(stack) == before
    eventually(lambda: text_of(client, FIRST)[1] != old_label, 20, "the new revision to answer")
    assert text_of(client, FIRST)[0] != old_text


def test_an_adapter_goes_while_the_others_chat(stack: LocalStack, client: OpenAI, loras: dict[str, Path]) -> None:
    """Its id is unknown then; the base, the other adapter and the engine's process stay."""
    before = boots(stack)
    with ClientLoad(stack, SECOND, clients=2) as load:
        apply(stack, entry(SECOND, loras[SECOND]))
        load.until_answered(2)
    assert load.failures == []
    assert boots(stack) == before
    with pytest.raises(NotFoundError):
        client.chat.completions.create(model=FIRST, messages=HELLO)
    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(lambda model: text_of(client, model), (BASE, SECOND)))) == 2


def test_an_adapter_of_the_hub_is_fetched_by_the_apply(
    stack: LocalStack, client: OpenAI, loras: dict[str, Path]
) -> None:
    """It comes like any other, and the hub is needed only once."""
    before = boots(stack)
    hub_adapter = {"id": "lora-hub", "source": "hf:org/lora@main"}
    stack.edit_model(BASE, adapters=[entry(SECOND, loras[SECOND]), hub_adapter])
    with HubServer({"org/lora": write_lora(loras["large"].with_name("hub"), seed=4)}, token="hf_right") as hub:
        environ = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_right", "HF_HUB_DISABLE_XET": "1"}
        applied = stack.bondhu("apply", env=environ, timeout_s=300)
    assert applied.returncode == 0, applied.stderr
    assert "fetching lora-hub (only once)" in applied.stderr
    assert boots(stack) == before
    text, label = text_of(client, "lora-hub")
    assert text != text_of(client, BASE)[0]
    assert label.startswith("lora-hub; adapter=")
    assert "nothing to change" in stack.bondhu("apply").stdout
