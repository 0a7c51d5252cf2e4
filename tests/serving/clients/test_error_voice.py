"""Errors in one voice: the field, what is accepted, the remedy; never a validator's dump."""

import gzip
import json
import socket
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.servers.engine import MODEL
from tests.support.servers.script import ScriptServer

CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
VALIDATORS_WORDS = ("Input should", "should be a valid", "validation", "List should", "less than or equal", "loc")

WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"stop": ["x"] * 5}, "stop", "at most 4 items"),
    ({"temperature": "hot"}, "temperature", "must be a number"),
    ({"temperature": 101}, "temperature", "must be at most 100"),
    ({"max_tokens": 0}, "max_tokens", "must be at least 1"),
    ({"max_tokens": 1.5}, "max_tokens", "must be a whole number"),
    ({"stream": "maybe"}, "stream", "must be true or false"),
    ({"user": "x" * 300}, "user", "at most 256 characters"),
    ({"messages": []}, "messages", "at least 1 item"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role", "must be 'system'"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type", "field required"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type", "text"),
    ({"tools": {}}, "tools", "must be a list"),
    ({"logit_bias": {"word": 1}}, "logit_bias.word", ""),
    ({"functions": [{"name": "f"}]}, "functions", "use tools"),
    ({"guided_json": {"type": "object"}}, "guided_json", "json_schema"),
    ({"guided_choice": ["a"]}, "guided_choice", "structured_outputs.choice"),
    ({"temprature": 1}, "temprature", "did you mean temperature"),
]


@pytest.mark.parametrize(("fields", "param", "words"), WRONG, ids=[each[1] for each in WRONG])
def test_a_wrong_field_is_named_with_what_is_accepted(
    http: httpx.Client, engine: ScriptServer, fields: dict[str, Any], param: str, words: str
) -> None:
    """On chats, and in the same words elsewhere."""
    answer = http.post(CHAT, json=HI | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert words in error["message"]
    assert not any(word in error["message"] for word in VALIDATORS_WORDS), error["message"]
    assert not engine.requests


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages", "/v1/embeddings", "/api/v1/memories"])
def test_a_compressed_body_is_refused(http: httpx.Client, path: str) -> None:
    """With the header's name, instead of the complaint that it is no JSON."""
    answer = http.post(path, content=gzip.compress(json.dumps(HI).encode()), headers={"content-encoding": "gzip"})
    assert answer.status_code == 415
    assert "content-encoding" in answer.json()["error"]["message"]


@pytest.mark.parametrize("streams", [False, True])
def test_http_1_0_is_answered_without_chunks(
    gateway: GatewayProcess, engine: ScriptServer, key: str, streams: bool
) -> None:
    """Old proxies and load testers speak it; the end of a stream is the end of the connection."""
    body = json.dumps(HI | {"stream": streams}).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST {CHAT} HTTP/1.0\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
        connection.sendall(head + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    headers, _, content = answer.partition(b"\r\n\r\n")
    assert b" 200 " in headers.splitlines()[0]
    assert b"transfer-encoding" not in headers.lower()
    if streams:
        assert content.startswith(b"data: {")
        assert content.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(content)["choices"][0]["message"]["content"] == "All right."
