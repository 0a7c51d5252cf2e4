"""`Idempotency-Key`: the repetitions of one request get one response, although it is sampled."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.polling import eventually
from tests.support.servers.engine import MODEL
from tests.support.servers.script import ScriptServer

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": MODEL, "messages": [{"role": "user", "content": "A number?"}]},
    "/v1/responses": {"model": MODEL, "input": "A number, please?"},
    "/v1/messages": {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Any number?"}]},
}


def ask(http: httpx.Client, path: str, key: str, **fields: Any) -> httpx.Response:
    """Send the path's request with a key."""
    headers = {"cache-control": "", "idempotency-key": key}
    answer = http.post(path, json=BODIES[path] | fields, headers=headers)
    answer.raise_for_status()
    return answer


@pytest.mark.parametrize("path", BODIES)
def test_a_repetition_gets_the_first_response(http: httpx.Client, engine: ScriptServer, path: str) -> None:
    """Once it is kept, the engine is not asked again; another key, or another body, is another request."""
    engine.answers = ["Seven."]
    assert "Seven." in ask(http, path, f"first {path}").text
    engine.answers = []

    def repeated() -> bool:
        answer = ask(http, path, f"first {path}")
        return answer.headers["x-bondhu-cache"] == "hit"

    eventually(repeated, 10, "a hit")
    engine.answers = ["Eight.", "Nine."]
    assert "Eight." in ask(http, path, f"second {path}").text
    assert "Nine." in ask(http, path, f"first {path}", temperature=0.9).text


def test_repetitions_at_the_same_time_are_one(http: httpx.Client, engine: ScriptServer) -> None:
    """A client that retries before the first try has ended makes no second generation."""
    path = "/v1/chat/completions"
    engine.delay_s = 1.5
    try:
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda _: ask(http, path, "at once").json(), range(3)))
    finally:
        engine.delay_s = 0.0
    assert len({answer["id"] for answer in answers}) == 1
    assert len(engine.requests) == 1


def test_a_key_that_is_no_key_is_refused(http: httpx.Client) -> None:
    """With the header's name."""
    answer = http.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"], headers={"idempotency-key": ""})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "idempotency-key"
