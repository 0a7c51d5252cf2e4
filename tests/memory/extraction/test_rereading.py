"""Turns that a weak model has read are read again: what it made is replaced, what people did with it is kept."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.extraction.deduplication import is_near, nearest_by_meaning
from storage.memory import memories
from storage.memory.export import read_history, write_history
from storage.memory.memories import NewMemory
from storage.memory.unread_turns import find_readers, has_unread, mark_unread
from storage.memory.vectors.embeddings import Embedded, Space, Unembedded, store_embeddings
from tests.memory.extraction.test_extractor import (  # noqa: F401 - fixtures
    ANN,
    BEN,
    DAY,
    NOW,
    extract,
    model,
    remembered,
    say,
    server,
    spoken,
)
from tests.support.memory.word_embedder import WordEmbedder
from tests.support.servers.model import ModelServer, operation

LATER = NOW + timedelta(days=1)


async def texts(engine: AsyncEngine) -> list[str]:
    """Return what is remembered of Ann."""
    return [each.text for each in await remembered(engine)]


async def test_what_is_made_anew_replaces_what_was_made(engine: AsyncEngine, model: ModelServer) -> None:  # noqa: F811
    """The old claim is gone and what it ended holds again; what was edited, pinned or added by hand stays."""
    await memories.add_memory(engine, ANN, NewMemory("Ann lives in Oslo"), id_="oslo", now=DAY)
    await say(engine, spoken(1, "I moved from Oslo to Rome"), spoken(2, "I like tea"), spoken(3, "I have a cat"))
    moved = operation("t1", "to Rome", "Ann lives in a tent", op="SUPERSEDE", target="m1")
    tea, cat = operation("t2", "like tea", "Ann likes tea"), operation("t3", "have a cat", "Ann has a dog")
    await extract(engine, model, [moved, tea, cat])
    made = {each.text: each for each in await remembered(engine)}
    assert made["Ann lives in Oslo"].superseded_by == made["Ann lives in a tent"].id
    await memories.edit_memory(engine, ANN, made["Ann has a dog"].id, {"text": "Ann has a cat"}, now=NOW)
    await say(engine, spoken(4, "Bye"), owner=BEN)
    assert [each.user for each in await find_readers(engine, NOW)] == ["ann"]
    assert await mark_unread(engine, ANN, NOW, now=LATER) == 3
    assert await has_unread(engine, ANN)
    assert "Ann lives in a tent" in await texts(engine), "until the turns are read again"
    await extract(engine, model, [operation("t1", "to Rome", "Ann lives in Rome"), tea])
    after = {each.text: each for each in await remembered(engine)}
    assert set(after) == {"Ann lives in Oslo", "Ann lives in Rome", "Ann likes tea", "Ann has a cat"}
    assert (after["Ann lives in Oslo"].superseded_by, after["Ann lives in Oslo"].valid_until) == (None, None)
    assert after["Ann likes tea"].id == made["Ann likes tea"].id
    assert not await has_unread(engine, ANN)


async def test_an_unreadable_answer_replaces_nothing(engine: AsyncEngine, model: ModelServer) -> None:  # noqa: F811
    """And a muted turn is not read again."""
    await say(engine, spoken(1, "I like tea"), spoken(2, "I miss Sam"))
    await extract(engine, model, [operation("t1", "like tea", "Ann likes tea"), operation("t2", "miss Sam", "Sam")])
    sam = next(each for each in await remembered(engine) if each.text == "Sam")
    await memories.edit_memory(engine, ANN, sam.id, {"muted": True}, now=NOW)
    assert await mark_unread(engine, ANN, NOW, now=LATER) == 1
    assert (await extract(engine, model, "no JSON", "nor this")).error == "unreadable"
    assert await texts(engine) == ["Ann likes tea", "Sam"]


async def test_imported_turns_can_be_read_again(engine: AsyncEngine) -> None:
    """They count as read at the import, which brought its own memories."""
    await say(engine, spoken(1, "I like tea"), spoken(2, "I have a cat"))
    await write_history(engine, BEN, await read_history(engine, ANN), now=NOW)
    assert not await has_unread(engine, BEN)
    assert await mark_unread(engine, BEN, LATER, now=LATER) == 0
    assert await mark_unread(engine, BEN, NOW, now=LATER) == 2


async def test_known_memories_are_shown_by_meaning_too(engine: AsyncEngine, model: ModelServer) -> None:  # noqa: F811
    """One without a common word, whose vector is near, is among them although others have common words."""
    for number in range(30):
        await memories.add_memory(engine, ANN, NewMemory(f"Ann moved chair {number}"), now=NOW)
    home, _ = await memories.add_memory(engine, ANN, NewMemory("Lives at the river"), now=NOW)
    said = "We moved to Lisbon"
    (vector,) = await WordEmbedder().embed([said])
    item = Unembedded("memory", home.id, home.changed_in, home.text)
    await store_embeddings(engine, ANN, Space("words", "1"), [Embedded(item, vector.tobytes(), None)], now=NOW)
    await say(engine, spoken(1, said))
    await extract(engine, model, [], embedder="words")
    assert "Lives at the river" in str(model.requests[-1]["messages"])


def test_the_nearest_by_meaning_come_first() -> None:
    """Those without a vector are not among them."""
    known: list[Any] = [np.array([0, 1]), None, np.array([1, 0]), np.array([0.6, 0.8])]
    assert nearest_by_meaning([np.array([1, 0])], known, limit=2) == [2, 3]
    assert nearest_by_meaning([], known, limit=2) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann sold the car", "Ann bought the car"),
        ("Ann's father is alive", "Ann's father is dead"),
        ("Ann is married", "Ann is divorced"),
        ("Ann eats meat", "Ann does not eat meat"),
        ("Ann hat das Auto gekauft", "Ann hat das Auto verkauft"),
        ("Ann isst Fleisch", "Ann isst kein Fleisch"),
        ("Ana compró el coche", "Ana vendió el coche"),
        ("A Ana le gusta el té", "A Ana no le gusta el té"),
        ("उसे चाय पसंद है", "उसे चाय पसंद नहीं है"),
        ("সে মাংস খায়", "সে মাংস খায় না"),
    ],
)
def test_opposites_are_never_the_same(one: str, other: str) -> None:
    """However near their vectors are; the same words are."""
    same = np.array([1.0, 0.0], dtype=np.float32)
    assert not is_near(one, other, (same, same))
    assert is_near(one, one + ".", (same, same))
