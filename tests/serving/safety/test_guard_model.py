"""A guard model that the configuration names judges what the rules let pass; without its answer the rules decide."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from agents.safety.helplines import DIRECTORIES
from agents.safety.risk import Category
from agents.safety.texts import GUIDANCE
from tests.support.gateway_process import DEADLINE_S, GatewayProcess, value, wait_for
from tests.support.servers.engine import MODEL
from tests.support.servers.model import JUNK, ModelServer

GUARD = "bondhu-demo-bf16"  # stands for one
PASSED = "the colour went out of all of it"  # by the rules
UNSAFE = "Safety: Unsafe\nCategories: Suicide & Self-Harm"


class TwoModels(ModelServer):
    """Two engines at one address; `has_guard`: whether the directory lists the guard's."""

    has_guard = True

    async def _directory(self, request: web.Request) -> web.Response:
        directory = json.loads((await super()._directory(request)).body)
        directory["routing"]["models"][GUARD] = "f"
        if self.has_guard:
            directory["replicas"].append(directory["replicas"][0] | {"replica_id": "guard", "model": GUARD})
        return web.json_response(directory)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway with a guard, which has five seconds."""
    guard = {"BONDHU__SAFETY__GUARD__MODEL": GUARD, "BONDHU__SAFETY__GUARD__FORMAT": "qwen3guard"}
    also = {"BONDHU__MODELS__ALSO": json.dumps([GUARD]), "BONDHU__SAFETY__MAX_WAIT_S": "5"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), **guard, **also) as process:
        yield process


@pytest.fixture(scope="module")
def engines(gateway: GatewayProcess) -> Iterator[TwoModels]:
    """Return the engines behind it."""
    with TwoModels(gateway.ingress_port) as server:
        server.always = "I see"
        gateway.until_ready(MODEL)
        gateway.until_ready(GUARD)
        yield server


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    """Return a key of an application that tells its people of programs itself."""
    return gateway.make_key("diary", tier="admin", notices="off")


@pytest.fixture
def models(engines: TwoModels) -> Iterator[TwoModels]:
    """Return the engines, to which nothing was sent."""
    engines.requests.clear()
    yield engines
    engines.answers.clear()


def say(gateway: GatewayProcess, key: str, text: str = PASSED) -> httpx.Response:
    """Say something to the chat model."""
    headers = {"authorization": f"Bearer {key}", "cache-control": "no-cache"}
    body = {"model": "bondhu", "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=DEADLINE_S)


def reply_of(answer: httpx.Response) -> str:
    """Return the words of an answer."""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def asked(models: TwoModels) -> list[str]:
    """Return which models were asked, in order."""
    return [request["model"] for request in models.requests]


def test_what_the_guard_finds_is_answered_with_help(gateway: GatewayProcess, models: TwoModels, key: str) -> None:
    """The chat model is guided, helplines follow, and the ledger has the chat's call alone, as in plain danger."""
    models.answers += [UNSAFE, "I am here"]
    answer = say(gateway, key)
    assert answer.headers["x-bondhu-safety"] == "self_harm; veiled; add_help"
    text = reply_of(answer)
    assert text.startswith("I am here")
    assert DIRECTORIES[0].contact in text
    assert asked(models) == [GUARD, MODEL]
    judged, guided = models.requests
    assert judged["messages"] == [{"role": "user", "content": PASSED}]
    assert judged["temperature"] == 0
    assert GUIDANCE[Category.SELF_HARM] in json.dumps(guided["messages"])

    def row() -> httpx.Response:
        return gateway.get(f"/v1/usage/{answer.headers['x-request-id']}", key)

    wait_for(lambda: row().status_code == 200, "the row in the ledger")
    assert [segment["model"] for segment in row().json()["segments"]] == [MODEL]


def test_what_the_guard_calls_safe_is_just_answered(gateway: GatewayProcess, models: TwoModels, key: str) -> None:
    """Nothing is added."""
    models.answers += ["Safety: Safe\nCategories: None", "Tell me more"]
    answer = say(gateway, key)
    assert reply_of(answer) == "Tell me more"
    assert "x-bondhu-safety" not in answer.headers


def test_plain_danger_does_not_wait_for_the_guard(gateway: GatewayProcess, models: TwoModels, key: str) -> None:
    """The rules decide; no model is asked."""
    assert say(gateway, key, "I want to kill myself.").headers["x-bondhu-model"] == "bondhu-safety"
    assert asked(models) == []


@pytest.mark.parametrize("failure", [503, 429, JUNK, "I'd be glad to help!"])
def test_without_a_readable_answer_the_rules_decide(
    gateway: GatewayProcess, models: TwoModels, key: str, failure: Any
) -> None:
    """The guard is asked once, and no other model in its place."""
    models.answers += [failure, "Tell me more"]
    answer = say(gateway, key)
    assert reply_of(answer) == "Tell me more"
    assert "x-bondhu-safety" not in answer.headers
    assert asked(models) == [GUARD, MODEL]


def test_a_slow_guard_is_not_waited_for(gateway: GatewayProcess, models: TwoModels, key: str) -> None:
    """The chat goes on without its opinion, which comes after the chat was asked."""

    def slowly() -> str:
        wait_for(lambda: MODEL in asked(models), "the chat to go on")
        return UNSAFE

    models.answers += [slowly, "Tell me more"]
    answer = say(gateway, key)
    assert reply_of(answer) == "Tell me more"
    assert "x-bondhu-safety" not in answer.headers


def test_a_guard_without_an_engine_changes_nothing(gateway: GatewayProcess, models: TwoModels, key: str) -> None:
    """The chat model alone is asked."""
    models.has_guard = False
    wait_for(lambda: not value(gateway.scrape(), "bondhu_ready_workers", model=GUARD), "the guard to be gone")
    models.answers += ["Tell me more"]
    assert reply_of(say(gateway, key)) == "Tell me more"
    assert asked(models) == [MODEL]
