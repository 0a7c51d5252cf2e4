"""The local stand-in for Gemini's API refuses what Google refuses: else a test against it would prove nothing."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.servers.gemini import KEY, SIGNATURE, GeminiServer
from tests.support.servers.gemini_rules import SKIP

Json = dict[str, Any]

FLASH, SIGNING = "gemini-2.5-flash", "gemini-3-flash-preview"
USER: Json = {"role": "user", "parts": [{"text": "hi"}]}
RESULT: Json = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}


@pytest.fixture(scope="module")
def server() -> Iterator[GeminiServer]:
    """Return a server for all of these."""
    with GeminiServer() as started:
        yield started


def ask(server: GeminiServer, body: Json, model: str = FLASH, key: str | None = KEY) -> tuple[int, Json]:
    """The status and the body of a unary answer."""
    headers = {"content-type": "application/json", **({"x-goog-api-key": key} if key else {})}
    address = f"{server.url}/v1beta/models/{model}:generateContent"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def calls(*signatures: str | None) -> Json:
    """A model's turn with tool calls."""
    signed = ({"thoughtSignature": signature} if signature else {} for signature in signatures)
    return {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, **extra} for extra in signed]}


def test_it_repeats_what_the_user_said(server: GeminiServer) -> None:
    """A plain request gets a plain answer, in either spelling of the fields."""
    config = {"max_output_tokens": 2}
    status, body = ask(server, {"contents": [USER], "generation_config": config})
    assert status == 200
    assert "".join(part["text"] for part in body["candidates"][0]["content"]["parts"]) == "You said:"
    assert body["candidates"][0]["finishReason"] == "MAX_TOKENS"


@pytest.mark.parametrize(
    ("model", "signature", "status"),
    [(FLASH, None, 200), (SIGNING, None, 400), (SIGNING, SIGNATURE, 200), (SIGNING, SKIP, 200), (SIGNING, "Zm9v", 400)],
)
def test_gemini_3_wants_its_signatures_back(
    server: GeminiServer, model: str, signature: str | None, status: int
) -> None:
    """A call in the current turn without one, or with one of somebody else's, is a 400."""
    contents = [USER, calls(signature), RESULT]
    assert ask(server, {"contents": contents}, model)[0] == status


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contents": []},
        {"contents": [USER, USER]},
        {"contents": [{"role": "assistant", "parts": [{"text": "hi"}]}]},
        {"contents": [{"role": "user", "parts": []}]},
        {"contents": [{"role": "user", "parts": [{"text": ""}]}]},
        {"contents": [{"role": "user", "parts": [{"text": "a", "inlineData": {}}]}]},
        {"contents": [USER, {"role": "model", "parts": [{"text": "hi"}]}]},
        {"contents": [USER, calls(None, None), RESULT]},
        {"contents": [USER], "stream": True},
        {"contents": [USER], "generationConfig": {"max_tokens": 5}},
        {"contents": [USER], "generationConfig": {"temperature": 2.5}},
        {"contents": [USER], "generationConfig": {"candidateCount": 2}},
        {"contents": [USER], "generationConfig": {"stopSequences": list("abcdef")}},
        {"contents": [USER], "generationConfig": {"responseJsonSchema": {}}},
        {"contents": [USER], "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
        {"contents": [USER], "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}},
    ],
)
def test_a_wrong_request_is_refused_as_google_refuses_it(server: GeminiServer, body: Json) -> None:
    """With 400, in Google's envelope."""
    status, answer = ask(server, body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(("key", "status"), [(None, 403), ("wrong", 400)])
def test_the_key_is_checked(server: GeminiServer, key: str | None, status: int) -> None:
    """A missing one and a wrong one are told apart."""
    assert ask(server, {"contents": [USER]}, key=key)[0] == status
