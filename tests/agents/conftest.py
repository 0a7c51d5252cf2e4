"""A scripted model behind the real client, documents in each database, and the context of a run."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.agents.states import SqlStates
from tests.agents.run_context import NOW, MakeContext, context_maker
from tests.support.gateway_process import free_port
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers.script import ScriptServer


@pytest.fixture
def server() -> Iterator[ScriptServer]:
    """Return a model that says what a test wants."""
    with ScriptServer(free_port()) as server:
        yield server


@pytest.fixture
async def model(server: ScriptServer) -> AsyncIterator[OpenAIChat]:
    """Return the real client of it."""
    async with aiohttp.ClientSession() as session:
        yield OpenAIChat(session, base_url=server.base_url, model="bondhu", api_key="a-key", timeout_s=10)


@pytest.fixture
def states(engine: AsyncEngine) -> SqlStates:
    """Return documents in each database."""
    return SqlStates(engine, lambda: NOW)


@pytest.fixture
def make_context() -> MakeContext:
    """Return what makes a run's context."""
    return context_maker()
