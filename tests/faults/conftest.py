"""Applications for faults, a gateway at whose edges things break, and the table of what came of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.config import addresses
from serving.config.load import load_settings
from tests.support.faults.aftermath import App
from tests.support.faults.edges import new_app
from tests.support.faults.matrix import Matrix, faults_of
from tests.support.local_stack import LocalStack

PAGE = Path(__file__).resolve().parents[2] / "docs/faults.md"


@pytest.fixture(scope="session")
def matrix(pytestconfig: pytest.Config) -> Iterator[Matrix]:
    """The table; with --write-faults it becomes docs/faults.md at the end of the run, else that must know its lines."""
    matrix = Matrix()
    yield matrix
    if pytestconfig.getoption("--write-faults"):
        matrix.write(PAGE)
    untold = set(matrix.lines) - set(faults_of(PAGE.read_text()))
    assert not untold, f"docs/faults.md does not tell of {untold}: run `make faults`"


@pytest.fixture
def app(stack: LocalStack) -> App:
    """An application of the whole stack."""
    settings = load_settings(environ=stack.env)
    return new_app(stack.url, addresses.database_url(settings), addresses.redis_url(settings))
