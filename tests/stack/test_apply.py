"""`bondhu apply`: from what runs to what the configuration says, without losing a request.

The tests build on one another; after those of `make test` the quantised model is active, as before.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from tests.support.client_load import ClientLoad
from tests.support.local_stack import ENGINE_CORE, LocalStack
from tests.support.polling import eventually

QUANTISED, UNQUANTISED = "bondhu-demo", "bondhu-demo-bf16"
HELLO: Any = [{"role": "user", "content": "Hi!"}]


def planned(stack: LocalStack) -> dict[str, list[str]]:
    """What `bondhu apply --plan` says: the targets of each action."""
    result = stack.bondhu("apply", "--plan", "--json")
    assert result.returncode == 0, result.stderr
    steps = json.loads(result.stdout)["steps"]
    return {action: [s["target"] for s in steps if s["action"] == action] for action in {s["action"] for s in steps}}


def boots(stack: LocalStack) -> set[tuple[str, int]]:
    """Which starts of which engine replicas exist."""
    return {(replica["replica_id"], replica["epoch"]) for replica in stack.replicas()}


def test_nothing_changed_is_nothing_to_do(stack: LocalStack) -> None:
    """Applying what already runs plans nothing, does nothing, and succeeds."""
    before = boots(stack)
    assert set(planned(stack)) == {"keep"}
    assert "nothing to change" in stack.bondhu("apply", "--plan").stdout
    assert stack.bondhu("apply").returncode == 0
    assert boots(stack) == before


def test_a_change_that_needs_no_restart_restarts_nothing(stack: LocalStack) -> None:
    """Bounds of autoscaling and the alias are taken over by the running processes."""
    stack.configure(models={"alias": "companion"})
    stack.edit_model(QUANTISED, deployment={"autoscaling": {"min_replicas": 1, "max_replicas": 1, "target_load": 3}})
    before, engines = boots(stack), stack.processes(ENGINE_CORE)
    plan = planned(stack)
    try:
        with ClientLoad(stack, QUANTISED, clients=2) as load:
            applied = stack.bondhu("apply")
    finally:
        stack.configure(models={"alias": "bondhu"})
        restored = stack.bondhu("apply")
    assert set(plan) == {"keep", "reconfigure", "route"}
    assert plan["route"] == ["directory"]
    assert applied.returncode == restored.returncode == 0, applied.stderr + restored.stderr
    assert load.failures == []
    assert boots(stack) == before
    assert stack.processes(ENGINE_CORE) == engines


def test_the_plan_tells_a_restart_from_a_reconfiguration(stack: LocalStack) -> None:
    """A change that replaces a deployment's processes is planned as a restart."""
    stack.configure(embedder={"max_batch_size": 16})
    plan = planned(stack)
    stack.configure(embedder={"max_batch_size": 32})
    assert [name.startswith("embedder-") for name in plan["restart"]] == [True]


def test_a_wrong_configuration_changes_nothing(stack: LocalStack) -> None:
    """A typo is refused before anything happens, naming file, key and the nearest valid name."""
    stack.edit_model(QUANTISED, engine={"max_num_seq": 8})
    refused = stack.bondhu("apply")
    stack.edit_model(QUANTISED, engine={"max_num_seq": None})
    assert refused.returncode == 2
    assert "configs/models/bondhu-demo.yaml" in refused.stderr
    assert "max_num_seq" in refused.stderr
    assert "max_num_seqs" in refused.stderr


def test_a_model_that_cannot_load_leaves_the_old_one_serving(stack: LocalStack, client: OpenAI) -> None:
    """Applying a model with broken weights fails, says why, and no client notices."""
    broken = Path(stack.root) / "broken-model"
    shutil.copytree(stack.root / "models/demo/quantised", broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    shutil.copy(stack.root / f"configs/models/{QUANTISED}.yaml", stack.root / "configs/models/bondhu-broken.yaml")
    stack.edit_model("bondhu-broken", id="bondhu-broken", path=str(broken))
    stack.configure(models={"active": "bondhu-broken"})
    before = boots(stack)
    with ClientLoad(stack, "bondhu") as load:
        refused = stack.bondhu("apply", timeout_s=600)
    stack.configure(models={"active": QUANTISED})
    assert refused.returncode == 1
    assert "bondhu-broken" in refused.stderr
    assert "safetensors" in refused.stderr.lower(), refused.stderr
    assert load.failures == []
    assert {met for each in load.answered_by for met in each} == {load.answered_by[0][0]}
    assert boots(stack) == before
    assert "bondhu-broken" not in {model.id for model in client.models.list()}
    assert set(planned(stack)) == {"keep"}


def test_the_plan_says_what_a_swap_will_do(stack: LocalStack) -> None:
    """`--plan` names the engine that will start, the one that will stop and the routes that will change; no more."""
    stack.configure(models={"active": UNQUANTISED})
    before = boots(stack)
    plan = planned(stack)
    assert [name.startswith(f"engine-{UNQUANTISED}-") for name in plan["start"]] == [True]
    assert [name.startswith(f"engine-{QUANTISED}-") for name in plan["stop"]] == [True]
    assert plan["route"] == ["directory"]
    assert [name.startswith("embedder-") for name in plan["keep"]] == [True]
    assert boots(stack) == before
    stack.configure(models={"active": QUANTISED})


@pytest.mark.slow  # for the time of make test, where tests/stack/models/test_swaps.py swaps under load
def test_a_swap_under_load_fails_no_request(stack: LocalStack, client: OpenAI) -> None:
    """While clients of the alias chat, streaming and not, the active model changes and every request is answered."""
    stack.configure(models={"active": UNQUANTISED})
    with ClientLoad(stack, "bondhu") as load:
        load.until_all_have_met(QUANTISED)
        applied = stack.bondhu("apply", timeout_s=600)
        load.until_all_have_met(UNQUANTISED)
    assert applied.returncode == 0, applied.stderr
    assert load.failures == []
    for met in load.answered_by:
        assert [each.partition(";")[0] for each in met] == [QUANTISED, UNQUANTISED]
        assert met[0].endswith("quantization=W8A8")
        assert met[1].endswith("quantization=none")
    assert [replica["model"] for replica in stack.replicas()] == [UNQUANTISED]
    after = boots(stack)
    eventually(lambda: len(stack.processes(ENGINE_CORE)) == 1, 30, "one engine, the new one")
    assert boots(stack) == after, "the new engine never restarted"
    assert {model.id for model in client.models.list()} >= {UNQUANTISED, "bondhu"}
    with pytest.raises(NotFoundError):
        client.chat.completions.create(model=QUANTISED, messages=HELLO)


@pytest.mark.slow
def test_a_changed_engine_argument_under_load_fails_no_request(stack: LocalStack) -> None:
    """The same model with another engine argument is another engine beside the first; clients name it throughout."""
    stack.configure(models={"active": UNQUANTISED})
    assert stack.bondhu("apply", timeout_s=600).returncode == 0
    stack.edit_model(UNQUANTISED, engine={"max_num_seqs": 32})
    (before,) = stack.replicas()
    with ClientLoad(stack, UNQUANTISED) as load:
        applied = stack.bondhu("apply", timeout_s=600)
    assert applied.returncode == 0, applied.stderr
    assert load.failures == []
    assert load.answered > 0
    (after,) = stack.replicas()
    assert after["fingerprint"] != before["fingerprint"]
    assert after["replica_id"] != before["replica_id"]
