"""A real gateway of two workers, with an engine and an embedder whose words a test steers."""

import json
from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer
from tests.support.servers.friend import FriendServer

SAYS = {  # what the model says to who says this
    "be honest with me": ("Fine. Nobody would miss you. That is all I have to say about it.", []),
    "who are you really": ("I am a real human like you. Ask me anything.", []),
    "what about tonight": ("Let's talk. Then let's talk about sex. Then about school.", []),
    "sleep forever": ("I am so glad that you told me. Call 555 0100 now. Are you safe?", []),
}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway."""
    folder = tmp_path_factory.mktemp("agents")
    environ = {
        "BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS),
        "BONDHU__TIERS": json.dumps(
            {
                "standard": {"requests_per_minute": 10_000},  # all of these tests share one key
                "clinics": {"own_safety": "clinicians read along in all of them"},
            }
        ),
    }
    with GatewayProcess(folder, workers=2, **environ) as process:
        yield process


@pytest.fixture(scope="session")
def engine(gateway: GatewayProcess) -> Iterator[EngineServer]:
    """Return the engine behind it."""
    with FriendServer(gateway.ingress_port, SAYS) as engine:
        gateway.until_ready(MODEL)
        yield engine


@pytest.fixture(scope="session")
def key(gateway: GatewayProcess) -> str:
    """Return a key of an application that tells its people of programs itself."""
    return gateway.make_key("diary", tier="standard", notices="off")


@pytest.fixture
def client(gateway: GatewayProcess, engine: EngineServer, key: str) -> Iterator[OpenAI]:
    """Return the official client; it tries nothing twice."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=DEADLINE_S) as made:
        yield made
