"""A message and the reply to it: two transactions, one request to the embedder, and nothing embedded twice."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.exchange import Exchange
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.owner import Owner
from storage.memory.turns.once import Said
from tests.support.memory.records import Progress, read_progress
from tests.support.memory.word_embedder import WordEmbedder

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def said(minute: int, text: str, speaker: str = "user") -> NewMessage:
    """Return a turn of this minute."""
    return NewMessage(f"m{minute}", speaker, text, DAY + timedelta(minutes=minute))


async def recall(store: MemoryService, question: str, exchange: Exchange | None = None) -> list[str]:
    """Return the texts that are recalled."""
    return [each.record.text for each in await store.recall(ANN, question, limit=9, exchange=exchange)]


async def talk(store: MemoryService, minute: int, question: str, answer: str) -> None:
    """Have an exchange, as a chat has."""
    exchange = store.exchange(ANN, "c")
    await recall(store, question, exchange)
    await exchange.store_message(Said(said(minute, question)))
    await exchange.store_reply(said(minute + 1, answer, "assistant"), [], answers=f"m{minute}")
    await exchange.end()


async def test_texts_of_an_exchange_are_embedded_once(
    store: MemoryService, engine: AsyncEngine, embedder: WordEmbedder
) -> None:
    """The question for recall; the reply and the three windows that change, afterwards; all vectors are there then."""
    await talk(store, 1, "first question", "first answer")
    embedder.texts.clear()
    await talk(store, 3, "second question", "second answer")
    assert sorted(embedder.texts) == sorted(
        [
            "second question",
            "second answer",
            "user: first question\nassistant: first answer\nuser: second question",
            "assistant: first answer\nuser: second question\nassistant: second answer",
            "user: second question\nassistant: second answer",
        ]
    )
    assert await read_progress(engine, ANN, embedder.space) == Progress(4, 4)
    found = await store.recall(ANN, "second question", limit=1)
    assert {"single", "window", "lexical"} == set(found[0].ranked.by_ranker)


async def test_the_next_question_does_not_make_the_vectors_of_an_open_exchange(
    store: MemoryService, embedder: WordEmbedder
) -> None:
    """Its words are found at once; when it is dropped, the next recall makes what is missing."""
    await talk(store, 1, "first question", "first answer")
    behind = store.exchange(ANN, "c")
    await behind.store_message(Said(said(3, "My parrot is called Kiwi")))
    embedder.texts.clear()
    following = store.exchange(ANN, "c")
    assert "My parrot is called Kiwi" in await recall(store, "Who is Kiwi?", following)
    assert embedder.texts == ["Who is Kiwi?"]
    del behind
    assert "My parrot is called Kiwi" in await recall(store, "Who is Kiwi?", following)
    assert "My parrot is called Kiwi" in embedder.texts


@pytest.mark.parametrize("is_answered", [False, True])
async def test_without_an_embedder_an_exchange_ends_all_the_same(
    store: MemoryService, engine: AsyncEngine, embedder: WordEmbedder, *, is_answered: bool
) -> None:
    """What was said is stored, and gets its vectors at the first recall with the embedder."""
    embedder.is_away = True
    exchange = store.exchange(ANN, "c")
    await exchange.store_message(Said(said(1, "first question")))
    if is_answered:
        await exchange.store_reply(said(2, "first answer", "assistant"), [], answers="m1")
    await exchange.end()
    embedder.is_away = False
    assert "first question" in await recall(store, "first")
    assert await read_progress(engine, ANN, embedder.space) == Progress(1 + is_answered, 1 + is_answered)
