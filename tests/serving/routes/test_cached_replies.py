"""The cache of answers and compression as clients of a real gateway see them; the engine is scripted."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess, wait_for
from tests.support.servers.engine import EngineServer, text_of

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hi there"}]
Service = tuple[GatewayProcess, EngineServer, str]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a gateway, its engine and a key."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as gateway, EngineServer(gateway.ingress_port) as engine:
        key = gateway.make_key("shop")
        wait_for(lambda: gateway.get("/ready").json()["models"]["bondhu-demo"]["ready"], "the engine")
        yield gateway, engine, key


def ask(service: Service, path: str = CHAT, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    """Ask; what leaves nothing to chance unless `fields` say otherwise."""
    gateway, _, key = service
    body = {"model": "bondhu", "messages": HELLO, "max_tokens": 4, "temperature": 0, **fields}
    all_headers = {"authorization": f"Bearer {key}", "accept-encoding": "identity", **(headers or {})}
    with httpx.Client(verify=False, timeout=60) as client:
        return client.post(gateway.url + path, json=body, headers=all_headers)


def cached(answer: httpx.Response) -> str:
    """What the reply says of the cache."""
    assert answer.status_code == 200, answer.text
    return answer.headers["x-bondhu-cache"]


def until_kept(service: Service, **fields: Any) -> httpx.Response:
    """Ask until it is a hit: an answer is kept only after the client has it."""
    answers: list[httpx.Response] = []

    def is_hit() -> bool:
        answers.append(ask(service, **fields))
        return cached(answers[-1]) == "hit"

    wait_for(is_hit, "the answer to be kept")
    return answers[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_the_second_answer_is_the_first_without_the_engine(service: Service, stream: bool) -> None:
    """Byte for byte, with the name of who made it; a stream is a stream again."""
    fields = {"user": f"maya-{stream}", "stream": stream}
    first = ask(service, **fields)
    assert cached(first) == "miss"
    second = until_kept(service, **fields)
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-bondhu-model"] == first.headers["x-bondhu-model"]
    requests_before = len(service[1].requests)
    assert cached(ask(service, **fields)) == "hit"
    assert len(service[1].requests) == requests_before


def test_a_hit_costs_nothing_but_a_request(service: Service) -> None:
    """The ledger has it, without tokens or segments."""
    gateway, _, key = service
    ask(service, user="arif")
    hit = until_kept(service, user="arif")
    usage = gateway.get(f"/v1/usage/{hit.headers['x-request-id']}", key).json()
    assert (usage["cache"], usage["outcome"], usage["http_status"]) == ("hit", "ok", 200)
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["segments"]) == (0, 0, [])


def test_what_is_drawn_by_chance_is_drawn_again(service: Service) -> None:
    """Unless the request says what kind of answer it wants."""
    assert [cached(ask(service, temperature=0.7)) for _ in range(2)] == ["bypass", "bypass"]
    until_kept(service, temperature=0.7, headers={"x-bondhu-cache-kind": "genres"})


def test_no_cache_reaches_the_engine(service: Service) -> None:
    """`Cache-Control: no-cache`, though the answer is there."""
    until_kept(service, user="lea")
    requests_before = len(service[1].requests)
    assert cached(ask(service, user="lea", headers={"cache-control": "no-cache"})) == "bypass"
    assert len(service[1].requests) == requests_before + 1


def test_an_unknown_kind_is_the_clients_mistake(service: Service) -> None:
    """It is told which kinds there are."""
    refused = ask(service, headers={"x-bondhu-cache-kind": "gossip"})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["param"] == "x-bondhu-cache-kind"
    assert "recommendations, stats, genres" in error["message"]


def test_an_answer_that_its_client_left_is_not_kept(service: Service) -> None:
    """Half a stream is nobody's answer."""
    gateway, engine, key = service
    engine.allow(1)
    body = {"model": "bondhu", "messages": HELLO, "max_tokens": 4, "temperature": 0, "stream": True, "user": "noor"}
    headers = {"authorization": f"Bearer {key}"}
    with (
        httpx.Client(verify=False, timeout=60) as client,
        client.stream("POST", gateway.url + CHAT, json=body, headers=headers) as answer,
    ):
        next(answer.iter_lines())
    wait_for(lambda: engine.aborted > 0, "the engine to be left")
    engine.allow(None)
    assert cached(ask(service, stream=True, user="noor")) == "miss"


@pytest.mark.parametrize("stream", [False, True])
def test_whole_replies_are_compressed_and_streams_never(service: Service, stream: bool) -> None:
    """A client that takes gzip gets it for a long JSON answer; events pass as they are."""
    long = {"max_tokens": 400, "stream": stream}
    with_gzip = ask(service, headers={"accept-encoding": "gzip"}, **long)
    assert with_gzip.headers.get("content-encoding") == (None if stream else "gzip")
    plain = ask(service, **long)
    assert "content-encoding" not in plain.headers
    assert text_of(400) in plain.text if not stream else plain.text.endswith("data: [DONE]\n\n")


def test_a_short_reply_is_left_as_it_is(service: Service) -> None:
    """Below the bound compressing costs more than it saves."""
    assert "content-encoding" not in ask(service, headers={"accept-encoding": "gzip"}).headers


def test_compression_says_what_it_sent(service: Service) -> None:
    """The length is the compressed one, and the bytes are gzip's."""
    gateway, _, _ = service
    headers = {"accept-encoding": "gzip"}
    with (
        httpx.Client(verify=False) as client,
        client.stream("GET", gateway.url + "/openapi.json", headers=headers) as it,
    ):
        raw = b"".join(it.iter_raw())
    assert int(it.headers["content-length"]) == len(raw)
    assert it.headers["vary"] == "Accept-Encoding"
    assert b"openapi" in gzip.decompress(raw)


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """`gateway.gzip_min_bytes: 0`."""
    with GatewayProcess(tmp_path, BONDHU__GATEWAY__GZIP_MIN_BYTES="0") as gateway:
        document = gateway.get("/openapi.json", **{"accept-encoding": "gzip"})
    assert document.status_code == 200
    assert "content-encoding" not in document.headers


def test_a_kept_answer_outlives_its_engine_and_nobody_waits_for_redis(tmp_path: Path) -> None:
    """With the engine gone a hit still answers; with Redis gone too, what is new is refused at once."""
    with GatewayProcess(tmp_path) as gateway:
        key = gateway.make_key("shop")
        with EngineServer(gateway.ingress_port) as engine:
            service = (gateway, engine, key)
            wait_for(lambda: gateway.get("/ready").json()["models"]["bondhu-demo"]["ready"], "the engine")
            until_kept(service)
        assert cached(ask(service)) == "hit"
        assert ask(service, user="somebody").status_code == 503
        gateway.redis.kill()
        assert ask(service).status_code == 503
