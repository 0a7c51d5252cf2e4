"""A reply whose process died before it was stored comes with the next request, and is stored then: once, in order."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
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
from storage.memory.conversations import NewMessage
from storage.memory.export import read_history
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.reply_context import ContextItem, find_reply, list_context
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

ANN = Owner("app", "ann")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ASKED, REPLY, NEXT = "I have a new cat", "What is it called?", "Its name is Tom"


class Chat:
    """A conversation; each message a minute after the one before."""

    def __init__(self, engine: AsyncEngine, index_cache: IndexCache) -> None:
        self.engine, self.now = engine, NOON
        self.store = MemoryService(engine, index_cache, WordEmbedder(), lambda: self.now)
        self.forgetter = Forgetter(engine, index_cache, {}, lambda: self.now)
        self._executor = IntentExecutor(engine, self.store, self.forgetter, lambda: self.now)

    async def say(self, *texts: str) -> None:
        """The last of these texts comes with those before, of both in turns; its reply is lost."""
        self.now += timedelta(minutes=1)
        roles = ("user", "assistant")
        messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
        body: dict[str, Any] = {"messages": messages}
        request = GenerationRequest(CHAT, body, "m", "r", "app", "ann", "interactive", False, conversation="c")
        memory = ChatMemory(self.store, self._executor, ChatMemorySettings(), request, len, lambda: self.now)
        response = ResponseWriter(
            Collected(), RequestRecord({"id": "r"}, time.monotonic, lambda *_: None), [], keeps=True
        )
        await memory.augment(response)
        await memory.remember(response)

    async def turns(self) -> list[tuple[str, str]]:
        """Speakers and texts, in order."""
        messages = (await read_history(self.engine, ANN)).conversations.get("c", ())
        return [(each.speaker, each.text) for each in messages]

    async def last(self) -> NewMessage:
        """The turn that was said last."""
        last = (await read_history(self.engine, ANN)).conversations["c"][-1]
        return NewMessage(last.external_id, last.speaker, last.text, last.said_at)


@pytest.fixture
def chat(engine: AsyncEngine) -> Iterator[Chat]:
    """Return a conversation in an empty database."""
    index_cache = IndexCache(engine, WordEmbedder().space, dimensions=DIMENSIONS, max_bytes=2**20)
    yield Chat(engine, index_cache)
    index_cache.close()


async def test_a_lost_reply_comes_with_the_next_request(chat: Chat) -> None:
    """Once, before the message that follows it, also if that is sent again."""
    await chat.say(ASKED)
    assert await chat.turns() == [("user", ASKED)]
    for _ in range(2):
        await chat.say(ASKED, REPLY, NEXT)
        assert await chat.turns() == [("user", ASKED), ("assistant", REPLY), ("user", NEXT)]
    await chat.say(ASKED, REPLY, NEXT, "A fine name", "Yes!")
    assert [text for _, text in await chat.turns()] == [ASKED, REPLY, NEXT, "A fine name", "Yes!"]


async def _delete_the_reply(chat: Chat) -> None:
    asked = await chat.last()
    exchange = chat.store.exchange(ANN, "c")
    await exchange.store_reply(NewMessage("r", "assistant", REPLY, chat.now), [], answers=asked.external_id)
    reply = await find_reply(chat.engine, ANN, "r")
    assert reply is not None
    receipt = await chat.forgetter.message(ANN, reply.id)
    assert receipt is not None
    assert receipt.is_complete


async def _delete_and_mute(chat: Chat) -> None:
    await _delete_the_reply(chat)
    (asked,) = (await read_history(chat.engine, ANN)).conversations["c"]
    await chat.store.add(ANN, NewMemory("Not this", message_id=asked.id, muted=True))


async def _forget_everything(chat: Chat) -> None:
    await chat.forgetter.everything(ANN)


@pytest.mark.parametrize("meanwhile", [_delete_the_reply, _delete_and_mute, _forget_everything])
async def test_what_was_deleted_does_not_come_back(chat: Chat, meanwhile: Callable[[Chat], Any]) -> None:
    """Applications send along what they have; what is missing may be missing on purpose."""
    await chat.say(ASKED)
    await meanwhile(chat)
    await chat.say(ASKED, REPLY, NEXT)
    assert ("assistant", REPLY) not in await chat.turns()
    assert (await chat.turns())[-1] == ("user", NEXT)


async def test_the_reply_to_a_request_to_forget_stays_out(chat: Chat) -> None:
    """It may repeat what was forgotten; nor is a reply taken that answers other words."""
    await chat.say("Forget that.")
    await chat.say("Forget that.", "I forgot Rex, your dog", NEXT)
    await chat.say("Something else", REPLY, "And now?")
    assert await chat.turns() == [("user", "Forget that."), ("user", NEXT), ("user", "And now?")]


@pytest.mark.parametrize(("late", "replies"), [(REPLY, [REPLY]), ("Another", ["Another"])])
async def test_a_reply_that_is_stored_after_the_next_request_is_there_once(
    chat: Chat, late: str, replies: list[str]
) -> None:
    """Who answers at once may be faster than the database: it gets its id and reasons; another text takes its place."""
    await chat.say(ASKED)
    asked, memory = await chat.last(), (await chat.store.add(ANN, NewMemory("Has a cat")))[0]
    await chat.say(ASKED, REPLY, NEXT)
    reasons = [ContextItem("memory", memory.id, 1, 0.5, {}, {})]
    reply = NewMessage("chatcmpl-1", "assistant", late, chat.now)
    await chat.store.exchange(ANN, "c").store_reply(reply, reasons, answers=asked.external_id)
    assert [text for speaker, text in await chat.turns() if speaker == "assistant"] == replies
    stored = await find_reply(chat.engine, ANN, "chatcmpl-1")
    assert stored is not None
    assert (stored.text, await list_context(chat.engine, ANN, stored.id)) == (late, reasons)
