"""What a memory said before an edit is kept, found only when what is over is asked for, and forgotten with it."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter
from memory.intents.detector import Forget
from memory.intents.executor import IntentExecutor
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.memory import erasure
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryFilter, NewMemory, NoSuchMemory, list_memories
from storage.memory.owner import Owner
from tests.memory.conftest import BEGINNING

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
NOW_ASKED, PAST_ASKED = "Where do I live?", "Where did I live before?"


async def told(store: MemoryService, question: str) -> list[str]:
    """Return what a question brings."""
    return [each.record.text for each in await store.recall(ANN, question, limit=9)]


async def former(engine: AsyncEngine, id_: str) -> list[str]:
    """Return the former texts of a memory."""
    return [each.text for each in await list_memories(engine, ANN, MemoryFilter(former_of=id_), limit=9)]


@pytest.fixture
async def home(store: MemoryService) -> str:
    """Add where Ann lives, and correct it twice; return its id."""
    turn = NewMessage("m", "Ann", "I live in Porto now, by the river", DAY)
    ids = (await store.ingest(ANN, "c", [turn])).ids
    new = NewMemory("I live in Porto", quote="I live in Porto", message_id=ids["m"], tags=("home",))
    record, _ = await store.add(ANN, new, id_="home")
    await store.edit(ANN, record.id, {"text": "I live in Lisbon"})
    await store.edit(ANN, record.id, {"text": "I live in Faro", "pinned": True})
    return record.id


async def test_a_former_text_is_found_when_it_is_asked_for(
    store: MemoryService, engine: AsyncEngine, home: str
) -> None:
    """Else neither recall nor a list has it; and an edit of anything else keeps nothing."""
    assert not {"I live in Porto", "I live in Lisbon"}.intersection(await told(store, NOW_ASKED))
    assert {"I live in Porto", "I live in Lisbon", "I live in Faro"} <= set(await told(store, PAST_ASKED))
    assert {"I live in Porto", "I live in Lisbon"} <= set(await told(store, "Where did I live in February 2026?"))
    (listed,) = await list_memories(engine, ANN, MemoryFilter(), limit=9)
    assert listed.text == "I live in Faro"
    assert sorted(await former(engine, home)) == ["I live in Lisbon", "I live in Porto"]
    await store.edit(ANN, home, {"pinned": False})
    assert len(await former(engine, home)) == 2


async def test_marks_are_of_former_texts_too(store: MemoryService, home: str) -> None:
    """What is not to be brought up is not brought up in the words of before."""
    await store.edit(ANN, home, {"muted": True})
    assert not {"I live in Porto", "I live in Lisbon"}.intersection(await told(store, PAST_ASKED))


@pytest.mark.parametrize("how", ["memory", "set aside first", "message", "conversation", "set aside, conversation"])
async def test_it_is_forgotten_with_its_memory(
    store: MemoryService, engine: AsyncEngine, index_cache: IndexCache, home: str, how: str
) -> None:
    """However that goes: the receipt is complete, and no table has the words."""
    forgetter = Forgetter(engine, index_cache, {}, lambda: DAY)
    wishes = IntentExecutor(engine, store, forgetter, lambda: DAY)
    if "set aside" in how:
        await store.edit(ANN, home, {"message_id": None, "quote": None})
        await wishes.execute(ANN, Forget("Faro"), conversation="c", message_id=None)
        assert await former(engine, home) == []
    if how in ("memory", "set aside first"):
        receipt = await forgetter.memory(ANN, home)
    elif how == "message":
        (found,) = [each for each in await store.recall(ANN, "river", limit=9) if each.ranked.item.kind == "turn"]
        receipt = await forgetter.message(ANN, found.record.id)
    else:
        receipt = await forgetter.conversation(ANN, "c")
    assert receipt is not None
    assert receipt.is_complete
    left = await erasure.count(engine, ANN)
    if how != "set aside, conversation":  # there, what was set aside quotes no turn of it
        assert {name: left[name] for name in ("memories", "set_aside")} == {"memories": 0, "set_aside": 0}
    assert left["memories"] == 0
    with pytest.raises(NoSuchMemory):
        await store.edit(ANN, home, {"text": "Anywhere"})


async def test_undo_brings_both_back(
    store: MemoryService, engine: AsyncEngine, index_cache: IndexCache, home: str
) -> None:
    """A memory that was set aside has its former texts again."""
    wishes = IntentExecutor(engine, store, Forgetter(engine, index_cache, {}, lambda: BEGINNING), lambda: BEGINNING)
    done = await wishes.execute(ANN, Forget("Faro"), conversation="c", message_id=None)
    assert done.undo is not None
    assert await former(engine, home) == []
    await store.undo(ANN, done.undo)
    assert sorted(await former(engine, home)) == ["I live in Lisbon", "I live in Porto"]
