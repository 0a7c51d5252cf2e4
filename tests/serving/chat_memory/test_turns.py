"""Which turn a chat's message is: what was said again within ten minutes is the same one, whenever that was."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter
from memory.intents.executor import IntentExecutor
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from serving.chat_memory.session import ChatMemory
from serving.config.schema import ChatMemorySettings
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import Collected, ResponseWriter
from storage.memory.tables import Message
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXT = "I have a new cat"


@pytest.fixture
def index_cache(engine: AsyncEngine) -> Iterator[IndexCache]:
    """Return an empty index cache."""
    cache = IndexCache(engine, WordEmbedder().space, dimensions=DIMENSIONS, max_bytes=2**20)
    yield cache
    cache.close()


async def say(engine: AsyncEngine, index_cache: IndexCache, at: datetime, *texts: str) -> None:
    """Have the last of these texts stored, as a chat has whose answer never comes."""
    store = MemoryService(engine, index_cache, WordEmbedder(), lambda: at)
    executor = IntentExecutor(engine, store, Forgetter(engine, index_cache, {}, lambda: at), lambda: at)
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    request = GenerationRequest(CHAT, body, "m", "r", "app", "ann", "interactive", False, conversation="c")
    memory = ChatMemory(store, executor, ChatMemorySettings(), request, len, lambda: at)
    memory.begin()
    record = RequestRecord({"id": "r"}, time.monotonic, lambda *_: None)
    await memory.remember(ResponseWriter(Collected(), record, [], keeps=True))


@pytest.mark.parametrize("first", [0, 598], ids="{} s after a stretch began".format)
@pytest.mark.parametrize(("later", "turns"), [(2, 1), (599, 1), (601, 2), (1100, 2)])
async def test_said_again_it_is_one_turn_for_ten_minutes(
    engine: AsyncEngine, index_cache: IndexCache, first: int, later: int, turns: int
) -> None:
    """Also across the border between two stretches of ten minutes, which the ids are made of."""
    at = NOON + timedelta(seconds=first)
    await say(engine, index_cache, at, TEXT)
    await say(engine, index_cache, at + timedelta(seconds=later), TEXT)
    await say(engine, index_cache, at + timedelta(seconds=later), TEXT, "and a dog")
    async with engine.connect() as connection:
        texts = list((await connection.execute(select(Message.text).order_by(Message.position))).scalars())
    assert texts == [TEXT] * turns + ["and a dog"]
