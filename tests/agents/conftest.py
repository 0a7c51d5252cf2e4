"""A scripted model behind the real client, and the context of a run."""

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import aiohttp
import pytest
from gateway_process import free_port
from script_server import ScriptServer
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.base import RunContext
from agents.budget import RunBudget, RunLimits
from models.openai_chat import OpenAIChat
from storage.agent_states import SqlStates
from storage.owner import Owner

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
LIMITS = RunLimits()
MakeContext = Callable[..., RunContext]


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
    ids = count(1)

    def make(limits: RunLimits = LIMITS, *, seed: int = 1, **parts: Any) -> RunContext:
        plain: dict[str, Any] = {
            "owner": Owner("app", "mina"),
            "conversation": "c1",
            "budget": RunBudget(limits, time.monotonic),
            "now": lambda: NOW,
            "rng": random.Random(seed),
            "new_id": lambda: f"id{next(ids)}",
        }
        return RunContext(**(plain | parts))

    return make
