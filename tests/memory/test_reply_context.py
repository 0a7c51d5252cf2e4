"""What a reply was given is stored with it, and goes with it and with what it names; on SQLite and Postgres."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.reply_context import ContextItem, find_reply, list_context

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def spoken(external_id: str, speaker: str = "user") -> NewMessage:
    """Return a message."""
    return NewMessage(external_id, speaker, f"Text of {external_id}", AT)


async def test_a_reply_and_its_reasons_come_and_go_together(store: MemoryService, engine: AsyncEngine) -> None:
    """Once, in order, for its own person only; a repetition changes nothing; a reply to nothing is not stored."""
    turns = (await store.ingest(ANN, "c1", [spoken("q0"), spoken("q1")])).ids
    record, _ = await store.add(ANN, NewMemory("Likes tea"))
    context = [
        ContextItem("turn", turns["q0"], 1, 0.5, {"lexical": [1, 2.5]}, {"recency": 1.01}),
        ContextItem("memory", record.id, 2, 0.25, {}, {"pinned": 1.0}),
    ]
    for reasons in (context, context[:1]):
        await store.exchange(ANN, "c1").store_reply(spoken("r1", "assistant"), reasons, answers="q1")
    await store.exchange(ANN, "c1").store_reply(spoken("r2", "assistant"), context, answers="nothing")
    await store.exchange(BEN, "c1").store_reply(spoken("r3", "assistant"), [], answers="q1")
    reply = await find_reply(engine, ANN, "r1")
    assert reply is not None
    assert await find_reply(engine, ANN, reply.id) == reply
    assert await list_context(engine, ANN, reply.id) == context
    assert await find_reply(engine, ANN, "r2") is None
    assert await find_reply(engine, BEN, "r1") is None
    assert await list_context(engine, BEN, reply.id) == []


async def test_what_is_forgotten_is_no_reason(
    store: MemoryService, engine: AsyncEngine, index_cache: IndexCache
) -> None:
    """With a conversation go its replies' reasons, and it from the reasons of others."""
    forgetter = Forgetter(engine, index_cache, {}, lambda: AT)
    first = (await store.ingest(ANN, "c1", [spoken("q1")])).ids["q1"]
    await store.ingest(ANN, "c2", [spoken("q2")])
    named = [ContextItem("turn", first, 1, 0.5, {}, {})]
    await store.exchange(ANN, "c1").store_reply(spoken("r1", "assistant"), named, answers="q1")
    await store.exchange(ANN, "c2").store_reply(spoken("r2", "assistant"), named, answers="q2")
    receipt = await forgetter.conversation(ANN, "c1")
    assert receipt is not None
    assert receipt.is_complete
    assert receipt.remaining["given"] == 0
    reply = await find_reply(engine, ANN, "r2")
    assert reply is not None
    assert await list_context(engine, ANN, reply.id) == []
