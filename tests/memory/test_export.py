"""A history that moves to another server is recalled there as it was here."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.document_writer import ITEMS_A_PIECE, write_document
from memory.recall.index_cache import IndexCache
from memory.schemas import AgentDocument, Document
from memory.service import AT_ONCE, MemoryService, Recalled
from storage import migrate
from storage.database import open_engine
from storage.memory import memories, people
from storage.memory.conversations import NewMessage
from storage.memory.export import read_history
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from tests.support.memory.records import read_progress
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = ("I have a dog", "He is called Rex", "We live in Oslo", "Rex likes the snow", "My dog is old", "Oslo is cold")


def found_texts(found: list[Recalled]) -> list[object]:
    """Return what a client is told, but for ids of messages, which are the server's own."""
    return [(each.record.text, each.ranked.score, each.ranked.by_ranker, each.ranked.factors) for each in found]


async def fill(store: MemoryService, engine: AsyncEngine) -> None:
    """Store two conversations side by side, memories of all fields, and a profile."""
    for name in ("a", "b"):
        turns = [
            NewMessage(f"{number}", ("Ann", "Bob")[number % 2], f"{name}: {text}", DAY + timedelta(minutes=number))
            for number, text in enumerate(TEXTS)
        ]
        ingested = await store.ingest(ANN, name, turns)
    quoted = NewMemory("Has a dog", "fact", quote="I have a dog", message_id=ingested.ids["0"], valid_from=DAY)
    old, _ = await store.add(ANN, quoted)
    new = NewMemory(
        "Had a dog", "event", event_at=DAY, confidence=0.5, sensitivity="sensitive", pinned=True, painful_at=DAY
    )
    await store.add(ANN, new, supersedes=old.id)
    await store.add(ANN, NewMemory("Rex is mine", quote="Rex", message_id=ingested.ids["1"], muted=True))
    here = NewMemory("Is called Annie by Maya", tags=("names",), persona="maya", conversation="c1")
    nick, _ = await store.add(ANN, here)
    await store.edit(ANN, nick.id, {"text": "Is called Anna by Maya"})
    await people.write_profile(engine, ANN, people.Profile("Ann", {"zone": "Europe/Oslo"}), now=DAY)


async def test_an_import_recalls_the_same(
    store: MemoryService, engine: AsyncEngine, make_index_cache: Callable[..., IndexCache], tmp_path: Path
) -> None:
    """Through JSON and into another database, for another user there: the same answers with the same scores."""
    await fill(store, engine)
    document = write_document(await read_history(engine, ANN)).decode()
    url = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    await asyncio.to_thread(migrate.upgrade, url)
    elsewhere, embedder = open_engine(url), WordEmbedder()
    index_cache = IndexCache(elsewhere, embedder.space, dimensions=DIMENSIONS, max_bytes=2**30)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    here, there = (
        MemoryService(engine, make_index_cache(), embedder, lambda: now),
        MemoryService(elsewhere, index_cache, embedder, lambda: now),
    )
    anna = Owner("other", "anna")
    for _ in range(2):  # taking it in again changes nothing
        await there.take_in(anna, Document.model_validate_json(document).history())
        for question in ("What is the dog called?", "Where do I live?", "old dog in the snow, Bob", "Who had a dog?"):
            found = await here.recall(ANN, question, limit=50)
            assert len(found) >= 10
            assert found_texts(await there.recall(anna, question, limit=50)) == found_texts(found)
    again = Document.of(await read_history(elsewhere, anna))
    assert plain(again) == plain(Document.model_validate_json(document))
    assert {each.schema_version for each in (again, Document.model_validate({"schema_version": 1}))} == {1, 4}
    index_cache.close()
    await elsewhere.dispose()


def plain(document: Document) -> object:
    """Return the document with every message named by its conversation and external id."""
    dumped = document.model_dump_json()
    for conversation in document.conversations:
        for turn in conversation.messages:
            dumped = dumped.replace(turn.id, f"{conversation.external_id}/{turn.external_id}")
    return json.loads(dumped)


async def test_an_import_gets_its_vectors_later(
    store: MemoryService, engine: AsyncEngine, embedder: WordEmbedder
) -> None:
    """Some at once, so that it is answered soon; the others when recall finds them missing."""
    many = [NewMessage(f"{number}", "Ann", f"Number {number}", DAY) for number in range(3 * AT_ONCE)]
    await store.ingest(ANN, "c", many)
    ben = Owner("app", "ben")
    await store.take_in(ben, await read_history(engine, ANN))
    progress = await read_progress(engine, ben, embedder.space)
    assert (progress.items, progress.embedded) == (3 * AT_ONCE, AT_ONCE)
    for _ in range(3):
        assert (await store.recall(ben, "Which number is 7?", limit=1))[0].record.text == "Number 7"
    assert (await read_progress(engine, ben, embedder.space)).embedded == 3 * AT_ONCE


async def test_an_import_is_whole_or_not_at_all(store: MemoryService, engine: AsyncEngine) -> None:
    """A document with a quote that no message says leaves nothing behind."""
    await fill(store, engine)
    document = Document.of(await read_history(engine, ANN))
    broken = document.memories[0].model_copy(update={"quote": "I have a cat"})
    ben = Owner("app", "ben")
    with pytest.raises(memories.NotVerbatim):
        await store.take_in(ben, document.model_copy(update={"memories": [broken]}).history())
    assert await people.read_version(engine, ben) is None


async def test_a_document_in_pieces_is_the_whole_one(store: MemoryService, engine: AsyncEngine) -> None:
    """However many items there are, and whatever they are called."""
    await fill(store, engine)
    many = [NewMessage(f"n{number}", "Ann", f"{number}", DAY) for number in range(2 * ITEMS_A_PIECE + 1)]
    await store.ingest(ANN, 'say "many"\n', many)
    for number in range(ITEMS_A_PIECE):
        await store.add(ANN, NewMemory(f"Memory {number}"))
    history = await read_history(engine, ANN)
    agents = [AgentDocument(agent="games", conversation="", name="hangman", value={"word": "\u2028", "tries": [1]})]
    for person in (history, await read_history(engine, Owner("app", "nobody"))):
        whole = Document.of(person, agents)
        assert json.loads(write_document(person, agents)) == json.loads(whole.model_dump_json())
