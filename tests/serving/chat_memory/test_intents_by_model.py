"""A model whose file calls it able finds requests about memory that no pattern does; without it the patterns decide."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.support.gateway_process import DEADLINE_S, ROOT, GatewayProcess, make_key, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL
from tests.support.servers.model import JUNK, ModelServer

Json = dict[str, Any]
FOUND = json.dumps({"request": "forget", "about": "my parrot Kiwi", "is_statement": False})
ASKED = "It would be good if you could forget my parrot Kiwi"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway whose model is able, and has half a second; nothing can be undone."""
    folder = tmp_path_factory.mktemp("gateway")
    root = folder / "root"
    shutil.copytree(ROOT / "configs", root / "configs")
    file = root / f"configs/models/{MODEL}.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "detects_intents": True}))
    settings = {"BONDHU__MEMORY__CHAT__DETECTION_TIMEOUT_S": "0.5", "BONDHU__MEMORY__UNDO_S": "0"}
    dimensions = {"BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS)}
    with GatewayProcess(folder, BONDHU_ROOT=str(root), **settings, **dimensions) as process:
        yield process


@pytest.fixture(scope="module")
def model(gateway: GatewayProcess) -> Iterator[ModelServer]:
    """Return the model behind it."""
    with ModelServer(gateway.ingress_port) as server:
        server.always = "I see"
        gateway.until_ready(MODEL)
        yield server


@pytest.fixture
def ask(gateway: GatewayProcess, model: ModelServer, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return what asks as somebody who has told of a parrot."""
    key = make_key(gateway.database_url, "one", tier="admin")
    headers = {"authorization": f"Bearer {key}", "x-bondhu-user": request.node.name, "x-bondhu-memory": "on"}
    headers |= {"cache-control": "no-cache"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=DEADLINE_S) as client:

        def call(method: str, path: str, body: Any = None) -> httpx.Response:
            return client.request(method, path, json=body)

        turn = {
            "external_id": "1",
            "speaker": "user",
            "text": "My parrot Kiwi is green",
            "said_at": "2026-01-01T00:00Z",
        }
        assert call("POST", "/api/v1/conversations", {"external_id": "past", "messages": [turn]}).status_code == 200
        model.requests.clear()
        yield call
        model.answers.clear()


def say(ask: Callable[..., Any], text: str) -> httpx.Response:
    """Chat."""
    answer: httpx.Response = ask(
        "POST", "/v1/chat/completions", {"model": "bondhu", "messages": [{"role": "user", "content": text}]}
    )
    assert answer.status_code == 200
    return answer


def texts(ask: Callable[..., Any]) -> list[str]:
    """Return what is kept of the person's past."""
    return [each["text"] for each in ask("GET", "/api/v1/messages?conversation=past").json()["data"]]


def test_what_a_model_finds_is_only_proposed(ask: Callable[..., Any], model: ModelServer) -> None:
    """It is set aside and can be undone, also where what a pattern finds is gone at once; the ledger has both calls."""
    model.answers += [FOUND, "Forgotten"]
    answer = say(ask, ASKED)
    assert "forgot=1, undo=" in answer.headers["x-bondhu-memory"]
    assert texts(ask) == []
    question, chat = model.requests
    assert question["response_format"]["json_schema"]["schema"]["properties"]["request"]
    assert [each["content"] for each in question["messages"]][1:] == [ASKED]
    assert "as asked" in json.dumps(chat["messages"]).lower()
    assert answer.json()["usage"]["prompt_tokens"] == 7, "the client's own"
    usage = f"/v1/usage/{answer.headers['x-request-id']}"
    wait_for(lambda: ask("GET", usage).status_code == 200, "the row in the ledger")
    row = ask("GET", usage).json()
    assert (row["prompt_tokens"], row["completion_tokens"], len(row["segments"])) == (14, 10, 2)
    (wish,) = ask("GET", "/api/v1/wishes").json()["data"]
    assert ask("POST", f"/api/v1/wishes/{wish['id']}/undo").status_code == 200
    assert texts(ask) == ["My parrot Kiwi is green"]


def test_an_ordinary_message_costs_no_call(ask: Callable[..., Any], model: ModelServer) -> None:
    """One call, the chat's own."""
    say(ask, "What colour is my parrot?")
    assert len(model.requests) == 1


@pytest.mark.parametrize("answer", [JUNK, 429, "no JSON", '{"request": "forget"}'])
def test_without_its_answer_the_patterns_decide(ask: Callable[..., Any], model: ModelServer, answer: Any) -> None:
    """They do not understand the one, and do the other at once."""
    model.answers += [answer, "Well"]
    assert "forgot" not in say(ask, ASKED).headers["x-bondhu-memory"]
    assert texts(ask) == ["My parrot Kiwi is green"]
    model.answers[:] = [answer, "Well"]
    done = say(ask, "Forget my parrot Kiwi").headers["x-bondhu-memory"]
    assert "undo" not in done
    assert texts(ask) == ([] if "forgot" in done else ["My parrot Kiwi is green"])


def test_a_slow_model_is_not_waited_for(ask: Callable[..., Any], model: ModelServer) -> None:
    """The chat goes on by the patterns."""
    asked: list[str] = []

    def slowly() -> str:
        wait_for(lambda: bool(asked) or len(model.requests) > 1, "the chat to go on")
        return FOUND

    model.answers += [slowly, "Well"]
    assert "forgot" not in say(ask, ASKED).headers["x-bondhu-memory"]
    asked.append("done")
