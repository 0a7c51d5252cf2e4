"""What keys may do and what their requests come to, over HTTP on the running stack."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from openai import APIStatusError, AsyncOpenAI

from tests.support.local_stack import LocalStack
from tests.support.polling import eventually

CHAT: dict[str, Any] = {"model": "bondhu", "messages": [{"role": "user", "content": "Hi!"}], "max_tokens": 1}
CALLBACK = "/api/v1/services/{service}/callback"  # a browser comes back there, which has no key
OPEN = {"/health", "/ready", CALLBACK}  # whether the service lives is nobody's secret

MakeKey = Callable[..., str]


@pytest.fixture
def make_key(stack: LocalStack) -> MakeKey:
    """Make a key with these options of `bondhu keys create`."""

    def make(*options: str) -> str:
        made = stack.bondhu("keys", "create", *options)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    return make


def usage(stack: LocalStack, key: str, request_id: str) -> httpx.Response:
    """Ask for a request's usage."""
    return httpx.get(f"{stack.url}/v1/usage/{request_id}", headers={"authorization": f"Bearer {key}"}, timeout=10)


async def test_a_tier_is_exact_under_concurrency(stack: LocalStack, make_key: MakeKey) -> None:
    """Of 60 requests at once of a key that may make 50 in a minute, 50 are answered and 10 are told when to return."""
    key = make_key("--app", "busy", "--tier", "free")
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=0, timeout=120) as client:
        requests = [client.chat.completions.with_raw_response.create(**CHAT) for _ in range(60)]
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, APIStatusError)]
    assert [each.status_code for each in refused] == [429] * 10
    answered = [each for each in outcomes if not isinstance(each, BaseException)]
    assert len(answered) == 50
    left = sorted(int(each.headers["x-ratelimit-remaining-requests"]) for each in answered)
    assert left == list(range(50))
    for each in refused:
        assert each.code == "rate_limit_exceeded"
        assert 1 <= int(each.response.headers["retry-after"]) <= 60
        assert each.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_every_answer_is_on_record(stack: LocalStack, http: httpx.Client) -> None:
    """An answered, a refused and a mistaken request each have one row, with what the engine counted."""
    for request_id, body in (
        ("row-ok", CHAT),
        ("row-400", CHAT | {"temperature": -1}),
        ("row-404", CHAT | {"model": "x"}),
    ):
        http.post("/v1/chat/completions", json=body, headers={"x-request-id": request_id})
    answered, wrong, unknown = (usage(stack, stack.api_key, f"row-{end}").json() for end in ("ok", "400", "404"))
    assert (answered["outcome"], answered["http_status"], answered["completion_tokens"]) == ("ok", 200, 1)
    assert answered["prompt_tokens"] > 0
    assert [segment["model"] for segment in answered["segments"]] == [answered["model"]]
    assert (wrong["outcome"], wrong["http_status"]) == ("client_error", 400)
    assert (unknown["outcome"], unknown["error_code"]) == ("client_error", "model_not_found")
    rows = http.get("/api/v1/usage", params={"group_by": "app,model"}).json()["data"]
    assert sum(row["requests"] for row in rows) >= 3


def test_a_stream_that_is_left_is_on_record(stack: LocalStack, http: httpx.Client) -> None:
    """A client that leaves in mid-stream is accounted for: aborted, with the tokens that the engine had made."""
    long = CHAT | {"max_tokens": 1500, "ignore_eos": True, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=long, headers={"x-request-id": "left"}) as answer:
        events = answer.iter_lines()
        for _ in range(20):
            next(events)

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = usage(stack, stack.api_key, "left").json()
        return found if found.get("status") == "ended" else None

    row = eventually(ended, 15, "the row of a request that was left")
    assert row is not None
    assert row["outcome"] == "aborted"
    assert 5 <= row["completion_tokens"] < 1500


def test_strangers_see_nothing(stack: LocalStack, http: httpx.Client, make_key: MakeKey) -> None:
    """Another application's request is as unknown as one that never was."""
    http.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "mine"})
    assert usage(stack, stack.api_key, "mine").status_code == 200
    stranger = make_key("--app", "stranger")
    assert usage(stack, stranger, "mine").status_code == 404
    listed = httpx.get(f"{stack.url}/api/v1/usage", headers={"authorization": f"Bearer {stranger}"}, timeout=10)
    assert listed.json()["data"] == []
    named = httpx.get(f"{stack.url}/api/v1/usage?app=dev", headers={"authorization": f"Bearer {stranger}"}, timeout=10)
    assert named.status_code == 403


def test_every_route_wants_a_key(stack: LocalStack, make_key: MakeKey) -> None:
    """No route but those that say whether the service lives answers without a key, or to one that was revoked."""
    key = make_key("--app", "gone")
    listed = stack.bondhu("keys", "list", "--json").stdout
    (found,) = re.findall(r'"id": "(\w+)",\s+"app": "gone"', listed)
    assert stack.bondhu("keys", "revoke", found).returncode == 0
    document = httpx.get(f"{stack.url}/openapi.json", timeout=10).json()
    walked = 0
    for path, methods in document["paths"].items():
        if path in OPEN:
            continue
        for method in methods:
            for headers in ({}, {"authorization": "Bearer bd-wrong"}, {"authorization": f"Bearer {key}"}):
                url = stack.url + re.sub(r"\{\w+\}", "x", path)
                answer = httpx.request(
                    method, url, headers=headers, json=CHAT if method == "post" else None, timeout=10
                )
                assert answer.status_code == 401, (method, path, headers)
            walked += 1
    assert walked >= 7
