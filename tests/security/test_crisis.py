"""A crisis is never answered by an error: without model, Ray, Redis and consent there is a caring text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.safety.helplines import DIRECTORIES, HELPLINES
from agents.safety.reply import TEXT
from agents.safety.texts import SELF_HARM
from tests.support.gateway_process import GatewayProcess, make_key

CRISIS = "I want to kill myself."
FIXED = SELF_HARM["en"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway that has nothing: no engine ever was, and Redis is killed."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as process:
        process.redis.kill()
        yield process


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    """Return a key that consents to nothing."""
    return make_key(gateway.database_url, "diary")


def ask(gateway: GatewayProcess, key: str, text: str, path: str = "chat/completions", **sent: Any) -> httpx.Response:
    """Say something; `headers` go with it, everything else is a field."""
    headers = {"authorization": f"Bearer {key}"} | sent.pop("headers", {})
    prompt = {"messages": [{"role": "user", "content": text}]} if path.startswith("chat") else {"prompt": text}
    return httpx.post(f"{gateway.url}/v1/{path}", json={"model": "bondhu"} | prompt | sent, headers=headers, timeout=60)


def text_of(answer: httpx.Response) -> str:
    """Return the words of an answer, streamed or not."""
    if answer.headers["content-type"].startswith("application/json"):
        (choice,) = answer.json()["choices"]
        return str(choice["message"]["content"])
    events = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
    assert events.pop() == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    assert choices[-1]["finish_reason"] == "stop"
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user": "maya"},
        {"n": 2},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    ],
)
def test_a_crisis_has_an_answer(gateway: GatewayProcess, key: str, fields: dict[str, Any], *, stream: bool) -> None:
    """Whatever else the request wants, and as it wants it."""
    answer = ask(gateway, key, CRISIS, stream=stream, **fields)
    assert answer.status_code == 200
    assert answer.headers["x-bondhu-model"] == "bondhu-safety"
    assert answer.headers["x-bondhu-safety"] == "self_harm; explicit; fixed_reply"
    text = text_of(answer)
    assert text.startswith(FIXED)
    assert all(each.contact in text for each in DIRECTORIES)


def test_what_is_remembered_of_them_changes_nothing(gateway: GatewayProcess, key: str) -> None:
    """A chat with memory, and what was said before in it, in a stream that could be resumed."""
    headers = {"x-bondhu-memory": "on", "x-bondhu-on-disconnect": "finish"}
    answer = ask(gateway, key, CRISIS, user="ann", stream=True, headers=headers)
    assert answer.status_code == 200
    assert FIXED in answer.text.replace("\\n", "\n")
    later = [
        {"role": "user", "content": CRISIS},
        {"role": "assistant", "content": TEXT},
        {"role": "user", "content": "Hello?"},
    ]
    assert TEXT in text_of(ask(gateway, key, "", messages=later))


def test_the_helpline_is_of_the_persons_country_or_of_none(gateway: GatewayProcess, key: str) -> None:
    """By the application's header, or by what it said of the person; nobody is sent to a country that nobody named."""
    of_others = {line.contact for lines in HELPLINES.values() for line in lines if line.contact.startswith("call")}
    for unknown in ("", "XX", "Bangladesh", "U"):
        text = text_of(ask(gateway, key, CRISIS, headers={"x-bondhu-country": unknown}))
        assert not any(contact in text for contact in of_others)
    text = text_of(ask(gateway, key, CRISIS, headers={"x-bondhu-country": "nz"}))
    assert "call or text 1737" in text
    assert DIRECTORIES[0].contact in text
    auth = {"authorization": f"Bearer {key}", "x-bondhu-user": "tui"}
    profile = {"name": "Tui", "details": {"country": "IE"}}
    assert httpx.put(f"{gateway.url}/api/v1/profile", json=profile, headers=auth).status_code == 200
    assert "116 123" in text_of(ask(gateway, key, CRISIS, headers=auth | {"x-bondhu-memory": "on"}))


def test_a_completion_has_its_own_shape(gateway: GatewayProcess, key: str) -> None:
    """The older endpoint as well."""
    answer = ask(gateway, key, CRISIS, path="completions")
    assert answer.status_code == 200
    (choice,) = answer.json()["choices"]
    assert answer.json()["object"] == "text_completion"
    assert choice["text"].startswith(FIXED)


def test_everything_else_is_still_an_error(gateway: GatewayProcess, key: str) -> None:
    """The text is for a crisis, and a wrong request is a wrong request."""
    assert ask(gateway, key, "What shall we cook?").status_code == 503
    assert ask(gateway, key, CRISIS, messages="nothing").status_code == 400
    assert ask(gateway, key, CRISIS, model="unknown").status_code == 404


def test_a_limit_does_not_silence_it(tmp_path: Path) -> None:
    """Who has used up their limit is told where help is, too."""
    tiers = json.dumps({"one": {"requests_per_minute": 1}})
    with GatewayProcess(tmp_path, BONDHU__TIERS=tiers) as gateway:
        key = make_key(gateway.database_url, "diary", tier="one")
        assert ask(gateway, key, CRISIS).status_code == 200  # a request like another
        assert ask(gateway, key, "Hi").status_code == 429
        assert text_of(ask(gateway, key, CRISIS)).startswith(TEXT)
