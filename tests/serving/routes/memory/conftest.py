"""A gateway for the tests of docs/memory.md."""

from collections.abc import Iterator

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.memory.word_embedder import DIMENSIONS
from tests.support.servers.engine import MODEL, EngineServer


@pytest.fixture(scope="package")
def page_engine(page_gateway: GatewayProcess) -> Iterator[EngineServer]:
    """Return the engine behind it, which is its embedder as well."""
    with EngineServer(page_gateway.ingress_port, embeds=True) as engine:
        page_gateway.until_ready(MODEL)
        yield engine


@pytest.fixture(scope="package")
def page_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Return a gateway of one worker."""
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder, BONDHU__EMBEDDER__DIMENSIONS=str(DIMENSIONS)) as process:
        yield process
