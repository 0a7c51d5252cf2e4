"""Whose prompts an engine's prefix cache may answer for: the salt that every request to an engine carries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engines.prefix_salt import PrefixSalt
from serving.protocol.request import CHAT, GenerationRequest
from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer

Service = tuple[GatewayProcess, EngineServer]
HELLO: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


def new_request(app: str, user: str | None, conversation: str | None) -> GenerationRequest:
    """A request of this application for this person."""
    return GenerationRequest(CHAT, HELLO, MODEL, "r", app, user, "interactive", False, conversation=conversation)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_people_share_a_salt(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Names that only read alike when they are put together are two names."""
    salt = PrefixSalt("the cluster's key")
    same = salt.of(new_request(*one, "chat")) == salt.of(new_request(*other, "chat"))
    assert same == (one == other)


def test_a_salt_is_the_same_in_every_gateway_and_in_no_other_cluster() -> None:
    """Else a prefix is computed again for each gateway, or can be looked for from another cluster."""
    ann = new_request("app", "ann", "chat")
    assert PrefixSalt("k").of(ann) == PrefixSalt("k").of(ann) != PrefixSalt("l").of(ann)
    assert len(PrefixSalt("k").of(ann)) == 64


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a gateway, and an engine that keeps what it is asked."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    gateway = GatewayProcess(folder, workers=2, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS))
    with EngineServer(gateway.ingress_port, embeds=True) as engine, gateway:
        gateway.until_ready(MODEL)
        yield gateway, engine


def engine_request(
    service: Service, app: str, user: str, path: str = CHAT, memory: str = "off", **fields: Any
) -> dict[str, Any]:
    """Ask as an application for a person; return what the engine was told."""
    gateway, engine = service
    key = gateway.make_key(app, tier="admin")
    headers = {"authorization": f"Bearer {key}", "x-bondhu-user": user, "x-bondhu-cache": "off"}
    headers |= {"x-bondhu-memory": memory} if path == CHAT else {}
    body = HELLO | fields if path == CHAT else {"model": MODEL, "prompt": "Hello"} | fields
    answer = httpx.post(gateway.url + path, json=body, headers=headers, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    return engine.requests[-1]


def test_every_request_to_an_engine_has_its_applications_salt(service: Service) -> None:
    """On both routes, streamed or not; of people without memory they share it, and its hits."""
    salts = {
        engine_request(service, "one", user, path, stream=stream)["cache_salt"]
        for user in ("ann", "ben")
        for path in (CHAT, "/v1/completions")
        for stream in (False, True)
    }
    assert len(salts) == 1
    assert engine_request(service, "two", "ann")["cache_salt"] not in salts


def test_a_chat_with_memory_has_its_persons_salt(service: Service) -> None:
    """What is remembered of one is in their prompt: no other person of the same application may look for it."""
    ann, ben = (engine_request(service, "one", user, memory="on")["cache_salt"] for user in ("ann", "ben"))
    of_the_app = engine_request(service, "one", "ann")["cache_salt"]
    assert len({ann, ben, of_the_app}) == 3
    assert engine_request(service, "one", "ann", memory="on")["cache_salt"] == ann


def test_a_salt_of_a_clients_own_never_reaches_an_engine(service: Service) -> None:
    """Whether the gateway refuses the field or drops it."""
    gateway, engine = service
    key = gateway.make_key("one", tier="admin")
    before = len(engine.requests)
    body = HELLO | {"cache_salt": "guessed", "temperature": 0.5}
    httpx.post(gateway.url + CHAT, json=body, headers={"authorization": f"Bearer {key}"}, timeout=DEADLINE_S)
    assert "guessed" not in [each["cache_salt"] for each in engine.requests[before:]]
