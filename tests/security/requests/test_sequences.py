"""No request costs more than it is counted for: sequences, refusals, resumed streams, sums and consents count."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.config.schema import TierSpec
from serving.errors import InvalidRequest
from serving.protocol.sequences import check_tier, sequences_of
from tests.support.gateway_process import GatewayProcess, wait_for
from tests.support.servers.engine import MODEL, EngineServer

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
LIMIT = 20
TIERS = {"counted": {"requests_per_minute": LIMIT, "max_sequences": 8}, "small": {"tokens_per_minute": 1000}}
ANSWER_BYTES = 2**16


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a scripted engine."""
    environ = {
        "BONDHU__TIERS": json.dumps(TIERS),
        "BONDHU__GATEWAY__MAX_ANSWER_BYTES": str(ANSWER_BYTES),
        "BONDHU__EMBEDDER__ENABLED": "false",
    }
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"), **environ)
    with EngineServer(gateway.ingress_port), gateway:
        wait_for(lambda: gateway.get("/ready").status_code == 200, "the gateway to be ready")
        yield gateway


class Client:
    """An application of its own, of the tier `counted`."""

    def __init__(self, gateway: GatewayProcess, name: str, tier: str = "counted") -> None:
        key = gateway.make_key(name, tier=tier)
        self.http = httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {key}"}, timeout=60)

    def chat(self, **fields: Any) -> httpx.Response:
        """One chat that is shared with no other."""
        body = {"model": MODEL, "messages": HELLO, "max_tokens": 2} | fields
        return self.http.post(CHAT, json=body, headers={"cache-control": "no-store"})

    def left(self) -> int:
        """How many requests are left in this minute, after one more."""
        return int(self.chat().headers["x-ratelimit-remaining-requests"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 1),
        ({"n": 4}, 4),
        ({"prompt": "a"}, 1),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": ["a", "b"], "n": 3}, 6),
        ({"prompt": [[1], [2], [3]], "n": None}, 3),
        ({"prompt": "a", "n": 2, "best_of": 5}, 5),
    ],
)
def test_sequences_are_prompts_times_choices(fields: dict[str, Any], expected: int) -> None:
    """A list of numbers is one prompt."""
    assert sequences_of(fields) == expected


@pytest.mark.parametrize(
    ("fields", "param", "allowed_by"),
    [
        ({"prompt": "a", "best_of": 3}, "best_of", "best_of"),
        ({"use_beam_search": True}, "use_beam_search", "use_beam_search"),
        ({"prompt_logprobs": 0}, "prompt_logprobs", "prompt_logprobs"),
        ({"prompt": "a", "echo": True, "logprobs": 0}, "echo", "echo_logprobs"),
        ({"echo": True, "logprobs": True}, "echo", "echo_logprobs"),
    ],
)
def test_what_costs_more_than_its_tokens_is_a_tiers_to_allow(
    fields: dict[str, Any], param: str, allowed_by: Any
) -> None:
    """Off by default, on by name."""
    with pytest.raises(InvalidRequest) as caught:
        check_tier(fields, TierSpec())
    assert caught.value.param == param
    check_tier(fields, TierSpec(allow=(allowed_by,)))
    for harmless in ({"echo": True}, {"logprobs": True}, {"best_of": 2, "n": 2}, {"use_beam_search": False}):
        check_tier(harmless, TierSpec())


def test_prompts_times_choices_are_bounded_by_tier(gateway: GatewayProcess) -> None:
    """A thousand prompts with a hundred choices are refused, whichever of the two is to blame."""
    client = Client(gateway, "bounded")
    for body, param in (
        ({"prompt": ["a"] * 1024, "n": 128}, "n"),
        ({"prompt": ["a"] * 9}, "prompt"),
        ({"prompt": "a", "n": 9}, "n"),
    ):
        answer = client.http.post(COMPLETIONS, json={"model": MODEL, "max_tokens": 2_000} | body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert "allows at most 8" in answer.json()["error"]["message"]


def test_answers_count_one_by_one(gateway: GatewayProcess) -> None:
    """`n` answers take n of the minute's requests, and reserve n times the tokens."""
    client = Client(gateway, "many")
    before = client.left()
    assert client.chat(n=5).headers["x-ratelimit-remaining-requests"] == str(before - 5)
    small = Client(gateway, "small", "small")
    assert small.chat(max_tokens=300).status_code == 200
    refused = small.chat(max_tokens=300, n=4)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "tokens")


def test_refused_requests_count(gateway: GatewayProcess) -> None:
    """400 and 404 take from the minute, whichever route refuses; in the end they are 429."""
    client = Client(gateway, "wrong")
    before = client.left()
    assert client.chat(temperature="hot").status_code == 400
    assert client.http.post(CHAT, content=b"{").status_code == 400
    assert client.chat(model="gpt-4").status_code == 404
    assert client.http.post("/api/v1/memories", json={"user": "maya", "nonsense": 1}).status_code == 400
    assert client.http.get(CHAT, headers={}).status_code == 405
    assert client.left() == before - 5
    statuses = [client.chat(temperature="hot").status_code for _ in range(LIMIT)]
    assert statuses[-1] == 429


def test_resumed_streams_count(gateway: GatewayProcess) -> None:
    """Each reading is a request, and so is each try to read what is not there."""
    client = Client(gateway, "resuming")
    headers = {"x-bondhu-on-disconnect": "finish", "cache-control": "no-store"}
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 2, "stream": True}
    first = client.http.post(CHAT, json=body, headers=headers)
    (event, *_) = [line[4:] for line in first.text.splitlines() if line.startswith("id: ")]
    before = client.left()
    for _ in range(3):
        again = client.http.post(CHAT, headers={"last-event-id": event})
        assert again.status_code == 200
        assert "x-ratelimit-remaining-requests" in again.headers
    assert client.http.post(CHAT, headers={"last-event-id": "abc-1:5"}).status_code == 404
    assert client.left() == before - 5


def test_sums_of_usage_and_consents_count(gateway: GatewayProcess) -> None:
    """Each asks the database, and is a request of the limits."""
    client = Client(gateway, "asking")
    before = client.left()
    assert client.http.get("/api/v1/usage").status_code == 200
    path = "/api/v1/users/maya/consent"
    assert client.http.put(path, json={"allow_external": True}).status_code == 200
    assert client.http.delete(path).status_code == 200
    assert client.left() == before - 4
    while (answer := client.http.get("/api/v1/usage")).status_code == 200:
        pass
    assert answer.status_code == 429
    assert client.http.put(path, json={"allow_external": True}).status_code == 429


def test_an_answer_larger_than_is_held_is_refused_and_charged(gateway: GatewayProcess) -> None:
    """The gateway never holds more of it than `max_answer_bytes`; what the engine did counts."""
    client = Client(gateway, "large", "standard")
    answer = client.chat(max_tokens=20_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "answer_too_large")
    left = int(client.chat().headers["x-ratelimit-remaining-tokens"])
    assert left < 400_000 - 20_000
    stream = client.chat(max_tokens=20_000, stream=True)
    assert stream.status_code == 200
    assert len(stream.content) > ANSWER_BYTES
