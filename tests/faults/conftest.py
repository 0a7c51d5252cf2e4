"""Applications for faults, a gateway at whose edges things break, and the table of what came of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import App
from edges import new_app
from local_stack import LocalStack
from matrix import Matrix, faults_of

from serving import addresses
from serving.settings import load_settings

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
