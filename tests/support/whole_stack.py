"""One real stack for the whole run, used by the tests of `faults/` and then by those of `stack/`.

A test that breaks it waits for its recovery, so that the next one finds it ready; the last one (`test_stops`) ends it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI
from xdist.scheduler import LoadScopeScheduling

from tests.support.local_stack import LocalStack
from tests.support.models.llama_service import LlamaService, demo_service
from tests.support.servers.gemini import GeminiServer
from tests.support.services import Service

CLIENT_TIMEOUT_S = 120.0
FRESH = {"cache-control": "no-cache"}  # these tests are about engines, not about answers that were kept
TTFT_TIMEOUT_S, STALL_TIMEOUT_S = 20.0, 5.0  # of the models: an engine that is stopped is noticed within a test
WITH_STACK = ("tests/faults/", "tests/stack/", "tests/security/test_prefix_cache.py")
STACK_END = pytest.StashKey[ExitStack]()  # of the run: what ends the stack, once


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests with a stack first: they take longest, and the last of them look for anything that it left."""
    items.sort(key=lambda item: not _has_stack(item))


class OneStack(LoadScopeScheduling):
    """Gives the tests of a file to one process, and all files whose tests share the stack: it starts once."""

    def _split_scope(self, nodeid: str) -> str:
        path: str = nodeid.partition("::")[0]
        return "stack" if path.startswith(WITH_STACK) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStack:
    """Share out the tests of `make test`, which runs them in two processes."""
    return OneStack(config, log)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the stack after its last test, so that later tests share neither its load nor its leftovers."""
    if _has_stack(item) and not (nextitem and _has_stack(nextitem)) and STACK_END in item.config.stash:
        item.config.stash[STACK_END].close()


def _has_stack(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return "running_stack" in names or ("engine_service" in names and _engine_of(item) == "vllm")


def _engine_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    engine: str = callspec.params.get("engine_service", "vllm") if callspec else "vllm"
    return engine


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --write-faults."""
    parser.addoption("--write-faults", action="store_true", help="write docs/faults.md from what tests/faults saw")


@pytest.fixture(scope="session")
def gemini() -> Iterator[GeminiServer]:
    """A server that speaks Gemini's protocol: the model outside of the stack's models."""
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="session")
def running_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, gemini: GeminiServer
) -> LocalStack:
    """The stack, up; after its last test it is stopped with `bondhu down` and must have left nothing."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    stack.configure(
        external={"gemini": {"model": "gemini-2.5-flash", "base_url": gemini.url}},
        tiers={"faulty": {"tokens_per_day": 10_000_000, "requests_per_minute": 100_000}},
    )
    stack.env["GEMINI_API_KEY"] = gemini.key
    for model in ("bondhu-demo", "bondhu-demo-bf16"):
        stack.edit_model(model, ttft_timeout_s=TTFT_TIMEOUT_S, stall_timeout_s=STALL_TIMEOUT_S)
    end = request.config.stash[STACK_END] = ExitStack()
    request.addfinalizer(end.close)  # noqa: PT021 - for a run that is cut short: a `yield` here ends at the run's end
    end.callback(_stop, stack)
    stack.up()
    return stack


def _stop(stack: LocalStack) -> None:
    stopped = stack.bondhu("down")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    stack.until_gone()


@pytest.fixture
def stack(running_stack: LocalStack) -> LocalStack:
    """The stack, ready for a test."""
    running_stack.until_ready()
    return running_stack


@pytest.fixture(scope="session")
def llama_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaService]:
    """The same model under llama.cpp."""
    with demo_service(tmp_path_factory.mktemp("llama-cpp")) as service:
        yield service


@pytest.fixture
def engine_service(request: pytest.FixtureRequest) -> Service:
    """The service under test: the stack, or the engine named by the test's parameter (`tests.support.services`)."""
    name = {"vllm": "stack", "llama_cpp": "llama_service"}[getattr(request, "param", "vllm")]
    found: Service = request.getfixturevalue(name)
    return found


@pytest.fixture
def client(engine_service: Service) -> Iterator[OpenAI]:
    """The official client without retries, so that failures are visible."""
    with OpenAI(
        base_url=f"{engine_service.url}/v1",
        api_key=engine_service.api_key,
        max_retries=0,
        timeout=CLIENT_TIMEOUT_S,
        default_headers=FRESH,
    ) as client:
        yield client


@pytest.fixture
async def async_client(engine_service: Service) -> AsyncIterator[AsyncOpenAI]:
    """The official asynchronous client."""
    async with AsyncOpenAI(
        base_url=f"{engine_service.url}/v1",
        api_key=engine_service.api_key,
        max_retries=0,
        timeout=CLIENT_TIMEOUT_S,
        default_headers=FRESH,
    ) as client:
        yield client


@pytest.fixture
def outgoing(stack: LocalStack) -> Iterator[OpenAI]:
    """The official client with a key that may use external models."""
    made = stack.bondhu("keys", "create", "--app", "outgoing", "--tier", "admin", "--allow-external")
    key = made.stdout.strip()
    with OpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=0, timeout=CLIENT_TIMEOUT_S) as client:
        yield client


@pytest.fixture
def http(engine_service: Service) -> Iterator[httpx.Client]:
    """Plain HTTP with a valid key, for what the official client would not send."""
    headers = {"authorization": f"Bearer {engine_service.api_key}", **FRESH}
    with httpx.Client(base_url=engine_service.url, headers=headers, timeout=CLIENT_TIMEOUT_S) as client:
        yield client
