"""Answers of models outside are bounded in bytes: whole ones, which the gateway holds, and streams."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.faults.edges import app_of, with_gemini
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.servers.gemini import GeminiServer, Script, event, text_script

MAX_BYTES = 2**16
HELLO = [{"role": "user", "content": "Hi"}]
LONG = text_script(*["a word " * 100] * 200)  # 140 kB, and as much again around it
ENDLESS = Script((event("It"), *[b"x" * 1000] * 200))


@pytest.fixture(scope="module")
def gemini() -> Iterator[GeminiServer]:
    """What answers outside."""
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, gemini: GeminiServer) -> Iterator[GatewayProcess]:
    """A gateway that holds little of one answer, and has no engine."""
    environ = {"BONDHU__GATEWAY__MAX_ANSWER_BYTES": str(MAX_BYTES), "BONDHU__EMBEDDER__ENABLED": "false"}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), **with_gemini(gemini), **environ) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """A client whose requests may be answered outside."""
    headers = {"authorization": f"Bearer {app_of(gateway).outgoing_key}", "cache-control": "no-store"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=DEADLINE_S) as client:
        yield client


@pytest.mark.parametrize("script", [LONG, ENDLESS], ids=["an answer", "a line"])
def test_a_whole_answer_of_a_model_outside_has_a_size(
    client: httpx.Client, gemini: GeminiServer, script: Script
) -> None:
    """It is refused as an engine's would be, and the next request is answered."""
    gemini.script(script)
    answer = client.post("/v1/chat/completions", json={"model": "bondhu", "messages": HELLO})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "answer_too_large")
    after = client.post("/v1/chat/completions", json={"model": "bondhu", "messages": HELLO})
    assert after.status_code == 200, after.text


@pytest.mark.parametrize("script", [LONG, ENDLESS], ids=["an answer", "a line"])
def test_a_stream_of_a_model_outside_has_a_size(client: httpx.Client, gemini: GeminiServer, script: Script) -> None:
    """What came of it was passed on; then its last event says what is wrong."""
    gemini.script(script)
    body = {"model": "bondhu", "messages": HELLO, "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
    assert answer.status_code == 200
    text = "".join(choice["delta"].get("content") or "" for each in events for choice in each.get("choices", ()))
    assert text.startswith(("a word", "It"))
    assert len(text) < MAX_BYTES
    assert events[-1]["error"]["code"] == "answer_too_large"
