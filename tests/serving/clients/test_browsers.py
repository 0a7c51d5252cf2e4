"""What browsers and the proxies before them need: CORS, comments in silence, headers against buffers."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from openai import OpenAI

from tests.serving.clients.conftest import FRESH
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.servers.engine import MODEL
from tests.support.servers.script import CUT, ScriptServer

CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
COMMENT = ": keep-alive"
ORIGIN = "https://app.example"


@pytest.fixture
def slow(engine: ScriptServer) -> Iterator[ScriptServer]:
    """Return the engine, which thinks for longer than a stream may be silent."""
    engine.delay_s = 1.0
    yield engine
    engine.delay_s = 0.0


@pytest.mark.parametrize("user", [{}, {"user": "maya"}], ids=["alone", "shared"])
def test_a_slow_first_token_is_preceded_by_comments(
    http: httpx.Client, slow: ScriptServer, user: dict[str, str]
) -> None:
    """And the stream after them is whole."""
    answer = http.post(CHAT, json=HI | user | {"stream": True}, headers={"cache-control": ""})
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[0] == COMMENT
    assert lines[-1] == "data: [DONE]"
    assert answer.status_code == 200


def test_the_official_clients_ignore_comments(gateway: GatewayProcess, slow: ScriptServer, key: str) -> None:
    """OpenAI's skips them; Anthropic's protocol has an event of its own for it once the message has begun."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, default_headers=FRESH) as openai:
        chunks = openai.chat.completions.create(**HI, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "All right."
        assert list(openai.responses.create(model=MODEL, input="Hi", stream=True))[-1].type == "response.completed"
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0, default_headers=FRESH) as client,
        client.messages.stream(**HI, max_tokens=9) as stream,
    ):
        assert stream.get_final_text() == "All right."


@pytest.mark.parametrize("fault", [400, CUT])
def test_an_error_after_comments_is_the_last_event(http: httpx.Client, slow: ScriptServer, fault: Any) -> None:
    """The status has been sent by then."""
    slow.answers = [fault] * 4
    body = HI | {"stream": True, "tools": [{"type": "function", "function": {"name": "f"}}]}
    answer = http.post(CHAT, json=body)
    assert answer.status_code == 200
    assert answer.text.startswith(COMMENT)
    assert '"error"' in answer.text.rstrip().rpartition("\n\n")[2]


def test_a_stream_tells_caches_and_proxies_to_let_it_pass(http: httpx.Client) -> None:
    """Some of them, such as nginx, buffer a stream without these headers."""
    for path, body in ((CHAT, HI), ("/v1/messages", HI | {"max_tokens": 9})):
        headers = http.post(path, json=body | {"stream": True}).headers
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
        assert headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("model", [MODEL, "bondhu/chat"])
def test_usage_is_null_in_all_chunks_but_the_last(http: httpx.Client, model: str) -> None:
    """With `include_usage`, as OpenAI has it."""
    fields = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    lines = http.post(CHAT, json=HI | fields).text.splitlines()
    chunks = [httpx.Response(200, content=line[6:]).json() for line in lines if line.startswith("data: {")]
    *others, last = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert others == [None] * len(others)
    assert last["total_tokens"] == last["prompt_tokens"] + last["completion_tokens"]


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages"])
def test_a_page_of_an_allowed_origin_may_ask(gateway: GatewayProcess, path: str) -> None:
    """The preflight allows the headers of every client, and scripts may read the service's own."""
    fields = {"origin": ORIGIN, "access-control-request-method": "POST"}
    fields["access-control-request-headers"] = "authorization,content-type,x-api-key,anthropic-version,x-bondhu-user"
    preflight = httpx.options(gateway.url + path, headers=fields)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "x-api-key" in preflight.headers["access-control-allow-headers"]
    refused = httpx.post(gateway.url + path, headers={"origin": ORIGIN}, json={}, timeout=DEADLINE_S)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN, "so that the page can read the error"
    assert "x-request-id" in refused.headers["access-control-expose-headers"]
    stranger = httpx.options(gateway.url + path, headers=fields | {"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in stranger.headers
