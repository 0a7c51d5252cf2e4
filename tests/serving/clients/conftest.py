"""A real gateway before an engine that says what a test has it say, for the clients that people use."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.gateway_process import DEADLINE_S, GatewayProcess, wait_for
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.script import ScriptServer

FRESH = {"cache-control": "no-cache"}  # an answer that was kept would not ask the engine


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway of one worker."""
    environ = {
        "BONDHU__EMBEDDER__DIMENSIONS": str(DIMENSIONS),
        "BONDHU__GATEWAY__STREAM_COMMENT_S": "0.3",
        "BONDHU__GATEWAY__CORS_ORIGINS": json.dumps(["https://app.example"]),
        "BONDHU__TIERS": json.dumps({"standard": {"requests_per_minute": 100_000}, "few": {"requests_per_minute": 3}}),
    }
    with GatewayProcess(tmp_path_factory.mktemp("clients"), **environ) as process:
        yield process


@pytest.fixture(scope="session")
def running_engine(gateway: GatewayProcess) -> Iterator[ScriptServer]:
    """Return the engine behind it."""
    with ScriptServer(gateway.ingress_port, embeds=True) as server:
        wait_for(lambda: gateway.get("/ready").status_code == 200, "the gateway to be ready")
        yield server


@pytest.fixture
def engine(gateway: GatewayProcess, running_engine: ScriptServer) -> ScriptServer:
    """Return the engine, which has not been asked yet; a test before may have broken it."""
    wait_for(lambda: gateway.get("/ready").status_code == 200, "the gateway to be ready")
    running_engine.requests.clear()
    running_engine.answers.clear()
    return running_engine


@pytest.fixture(scope="session")
def key(gateway: GatewayProcess) -> str:
    """Return a key of an application that tells its people of programs itself."""
    return gateway.make_key("clients", tier="standard", notices="off")


@pytest.fixture
def http(gateway: GatewayProcess, engine: ScriptServer, key: str) -> Iterator[httpx.Client]:
    """Return plain HTTP with the key."""
    headers = {"authorization": f"Bearer {key}", **FRESH}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=DEADLINE_S) as client:
        yield client
