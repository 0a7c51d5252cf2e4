"""/tokenize, /detokenize and Anthropic's count: the engine's own tokenizer, with access, limits and a row."""

from typing import Any

import anthropic
import httpx
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.polling import eventually
from tests.support.servers.engine import MODEL
from tests.support.servers.script import ScriptServer

HI: list[Any] = [{"role": "user", "content": "Hello there"}]


def test_a_text_is_cut_and_put_together(http: httpx.Client) -> None:
    """By a model's id, the alias, or an agent's."""
    for model in (MODEL, "bondhu", "bondhu/chat"):
        cut = http.post("/tokenize", json={"model": model, "prompt": "Hello there"})
        assert cut.json() == {"count": 2, "max_model_len": 2048, "tokens": [5, 5]}
        assert cut.headers["x-bondhu-model"].startswith(MODEL)
    assert http.post("/detokenize", json={"model": MODEL, "tokens": [1, 2]}).json() == {"prompt": "x xx"}
    assert http.post("/tokenize", json={"model": MODEL, "messages": HI}).json()["count"] == 2


def test_anthropics_client_counts(gateway: GatewayProcess, engine: ScriptServer, key: str) -> None:
    """With the system prompt and the tools that the message would have."""
    with anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
        tools: Any = [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]
        counted = client.messages.count_tokens(model=MODEL, messages=HI, system="Be kind.", tools=tools)
    assert counted.input_tokens == 4
    assert engine.requests[-1]["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tokenize", {"model": MODEL}, 400),
        ("/tokenize", {"model": MODEL, "prompt": "x", "messages": HI}, 400),
        ("/tokenize", {"model": MODEL, "prompt": "x", "chat_template": "x"}, 400),
        ("/tokenize", {"model": "gpt-4", "prompt": "x"}, 404),
        ("/detokenize", {"model": MODEL, "tokens": [-1]}, 400),
        ("/v1/messages/count_tokens", {"model": MODEL, "messages": []}, 400),
    ],
)
def test_what_is_wrong_is_refused(http: httpx.Client, path: str, body: dict[str, Any], status: int) -> None:
    """By name."""
    assert http.post(path, json=body).status_code == status


def test_it_needs_a_key_counts_and_has_a_row(gateway: GatewayProcess, engine: ScriptServer) -> None:
    """Nothing is generated, so no tokens are charged."""
    body = {"model": MODEL, "prompt": "Hello there", "user": "maya"}
    assert httpx.post(f"{gateway.url}/tokenize", json=body).status_code == 401
    headers = {"authorization": f"Bearer {gateway.make_key('limited-tokens', tier='few')}"}
    with httpx.Client(base_url=gateway.url, headers=headers) as http:
        first = http.post("/tokenize", json=body)
        assert first.headers["x-ratelimit-limit-requests"] == "3"
        assert [http.post("/tokenize", json=body).status_code for _ in range(4)][-1] == 429
        path = f"/v1/usage/{first.headers['x-request-id']}"
        row = eventually(lambda: (found := http.get(path)).status_code == 200 and found.json(), 15, "the row")
    assert (row["endpoint"], row["outcome"], row["prompt_tokens"], row["user"]) == ("/tokenize", "ok", 0, "maya")
