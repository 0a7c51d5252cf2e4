"""One real stack for the whole run; the files of this folder use it in the order of their names.

Reading tests come first, those that break it last (`test_failures`, `test_stops`): each of those waits for recovery, so
that the next finds a service that serves.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from local_stack import LocalStack
from openai import AsyncOpenAI, OpenAI

CLIENT_TIMEOUT_S = 120.0
TEST_TIMEOUT_S = 900  # whichever test is first waits for the start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder the time that starts and recoveries of real engines take."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The stack, up; at the end of the run it is stopped with `bondhu down` and must have left nothing."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        stack.up()
        yield stack
    finally:
        stopped = stack.bondhu("down")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    stack.until_gone()


@pytest.fixture
def stack(running_stack: LocalStack) -> LocalStack:
    """The stack, ready for a test."""
    running_stack.until_ready()
    return running_stack


@pytest.fixture
def client(stack: LocalStack) -> Iterator[OpenAI]:
    """The official client, which never tries twice: a failure must be seen."""
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.api_key, max_retries=0, timeout=CLIENT_TIMEOUT_S) as client:
        yield client


@pytest.fixture
async def async_client(stack: LocalStack) -> AsyncIterator[AsyncOpenAI]:
    """The official asynchronous client."""
    async with AsyncOpenAI(
        base_url=f"{stack.url}/v1", api_key=stack.api_key, max_retries=0, timeout=CLIENT_TIMEOUT_S
    ) as client:
        yield client


@pytest.fixture
def http(stack: LocalStack) -> Iterator[httpx.Client]:
    """Plain HTTP with a valid key, for what the official client would not send."""
    headers = {"authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=CLIENT_TIMEOUT_S) as client:
        yield client
