"""A real gateway of two workers, with an engine and an embedder whose words a test steers."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.support.gateway_process import DEADLINE_S, GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway."""
    folder = tmp_path_factory.mktemp("agents")
    with GatewayProcess(folder, workers=2, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS)) as process:
        yield process


@pytest.fixture(scope="session")
def engine(gateway: GatewayProcess) -> Iterator[EngineServer]:
    """Return the engine behind it."""
    with EngineServer(gateway.ingress_port, embeds=True) as engine:
        gateway.until_ready(MODEL)
        yield engine


@pytest.fixture(scope="session")
def key(gateway: GatewayProcess) -> str:
    """Return a key of an application."""
    return gateway.make_key("diary", tier="standard")


@pytest.fixture
def client(gateway: GatewayProcess, engine: EngineServer, key: str) -> Iterator[OpenAI]:
    """Return the official client; it tries nothing twice."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=DEADLINE_S) as made:
        yield made
