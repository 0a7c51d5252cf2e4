"""Another answer takes the earlier one's place, and an edited message that of what it was; on SQLite and Postgres."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter
from memory.intents.detector import Forget
from memory.intents.executor import IntentExecutor
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from serving.chat_memory.session import ChatMemory
from serving.config.schema import ChatMemorySettings
from serving.protocol.record import RequestRecord
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import Collected, ResponseWriter
from storage.erasure.log import Erasure, ErasureLog
from storage.erasure.replay import read_entries, replay
from storage.memory import erasure
from storage.memory.conversations import NewMessage
from storage.memory.export import read_history, write_history
from storage.memory.memories import MemoryFilter, NewMemory, list_memories
from storage.memory.owner import Owner
from storage.memory.reply_context import ContextItem, find_reply, list_context
from storage.memory.set_aside import Aside
from storage.memory.tables import Message
from storage.memory.turns.replaced import find_replaced, former_turns
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CAT, LOVELY, NAME, FINE = "I have a new cat", "How lovely!", "Its name is Tom", "A fine name"
PAST = "What was the name before?"


class Chat:
    """Conversations of Ann; each message a minute after the one before."""

    def __init__(self, engine: AsyncEngine, index_cache: IndexCache) -> None:
        self.engine, self.now, self._replies = engine, NOON, 0
        self.store = MemoryService(engine, index_cache, WordEmbedder(), lambda: self.now)
        self.log = ErasureLog("key", lambda: self.now)
        self.forgetter = Forgetter(engine, index_cache, {}, lambda: self.now, self.log)
        self.executor = IntentExecutor(engine, self.store, self.forgetter, lambda: self.now)

    def begin(self, *texts: str, conversation: str = "c") -> tuple[ChatMemory, ResponseWriter]:
        """A request: texts of the person and of the friend in turns."""
        roles = ("user", "assistant")
        messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
        body: dict[str, Any] = {"messages": messages}
        request = GenerationRequest(CHAT, body, "m", "r", "app", "ann", "interactive", False, conversation=conversation)
        memory = ChatMemory(self.store, self.executor, ChatMemorySettings(), request, len, lambda: self.now)
        record = RequestRecord({"id": "r"}, time.monotonic, lambda *_: None)
        return memory, ResponseWriter(Collected(), record, [], keeps=True)

    async def say(self, *texts: str, reply: str, conversation: str = "c") -> str:
        """Chat; returns the id of the reply."""
        self.now += timedelta(minutes=1)
        memory, response = self.begin(*texts, conversation=conversation)
        await memory.augment(response)
        return await self.answer(memory, response, reply)

    async def answer(self, memory: ChatMemory, response: ResponseWriter, reply: str) -> str:
        """Send a reply, and have it stored; returns its id."""
        self._replies += 1
        id_ = f"chatcmpl-{self._replies}"
        body = {"id": id_, "choices": [{"index": 0, "message": {"role": "assistant", "content": reply}}]}
        await response.whole(200, json.dumps(body).encode(), "m")
        await memory.remember(response)
        return id_

    async def turns(self, conversation: str = "c") -> list[str]:
        """What was said, in order."""
        return [each.text for each in (await read_history(self.engine, ANN)).conversations.get(conversation, ())]

    async def id_of(self, text: str) -> str:
        """The id of a turn."""
        async with self.engine.connect() as connection:
            return str((await connection.execute(select(Message.id).where(Message.text == text))).scalar_one())

    async def former(self, text: str) -> list[str]:
        """What stood in the place of a turn before."""
        return [each.text for each in await former_turns(self.engine, ANN, await self.id_of(text))]

    async def told(self, question: str) -> set[str]:
        """What a question recalls."""
        return {each.record.text for each in await self.store.recall(ANN, question, limit=20)}

    async def prepared(self) -> "Chat":
        """Two exchanges, about a cat and its name."""
        await self.say(CAT, reply=LOVELY)
        await self.say(CAT, LOVELY, NAME, reply=FINE)
        return self


@pytest.fixture
def chat(engine: AsyncEngine) -> Iterator[Chat]:
    """Return conversations in an empty database."""
    index_cache = IndexCache(engine, WordEmbedder().space, dimensions=DIMENSIONS, max_bytes=2**20)
    yield Chat(engine, index_cache)
    index_cache.close()


async def test_another_answer_takes_the_place_of_the_earlier_one(chat: Chat) -> None:
    """Of the last message and of an earlier one, in the order in which they were said; each stays as a former text."""
    await chat.prepared()
    await chat.say(CAT, LOVELY, NAME, reply="Tom is short")
    await chat.say(CAT, LOVELY, NAME, reply="Like the film")
    assert await chat.turns() == [CAT, LOVELY, NAME, "Like the film"]
    assert await chat.former("Like the film") == ["Tom is short", FINE]
    await chat.say(CAT, reply="How old is it?")
    assert await chat.turns() == [CAT, "How old is it?", NAME, "Like the film"]
    for question in ("A fine name, how lovely", "What was a fine name before?"):
        assert not {FINE, LOVELY, "Tom is short"}.intersection(await chat.told(question))
    assert await list_memories(chat.engine, ANN, MemoryFilter(), limit=9) == []


async def test_why_of_a_replaced_reply_stays(chat: Chat) -> None:
    """Its reasons are those that it had; where it was a reason itself, its former text is."""
    memory = (await chat.store.add(ANN, NewMemory("Its name is Tom, the cat")))[0]
    first = await chat.say("What is the name of the cat?", reply="Tom")
    reply = await find_reply(chat.engine, ANN, first)
    assert reply is not None
    reasons = await list_context(chat.engine, ANN, reply.id)
    assert [each.item_id for each in reasons] == [memory.id]
    await chat.store.exchange(ANN, "c").store_reply(
        NewMessage("r", "assistant", "Yes", chat.now),
        [ContextItem("turn", reply.id, 1, 0.5, {}, {})],
        answers=await _asked(chat),
    )
    assert await find_reply(chat.engine, ANN, first) is None
    (former,) = await find_replaced(chat.engine, ANN, first)
    assert (former.text, former.replaced_by) == ("Tom", await chat.id_of("Yes"))
    assert await list_context(chat.engine, ANN, former.id) == reasons
    assert await find_replaced(chat.engine, ANN, first, conversation="c") == [former]
    assert await find_replaced(chat.engine, ANN, first, conversation="other") == []
    assert await find_replaced(chat.engine, BEN, first) == []
    (own,) = await list_context(chat.engine, ANN, await chat.id_of("Yes"))
    assert (own.kind, own.item_id) == ("memory", former.id)


async def _asked(chat: Chat) -> str:
    """The external id of the first turn."""
    return (await read_history(chat.engine, ANN)).conversations["c"][0].external_id


async def test_what_will_be_replaced_is_not_told(chat: Chat) -> None:
    """The earlier answer does not come to the model that makes another; nor the former message to an edited one's."""
    await chat.say("Tell me of Tom the cat", reply="Tom the cat sleeps")
    asked = ("Tell me of Tom the cat", "Tom the cat sleeps")
    await chat.say(*asked, "Is Tom the cat black?", reply="Black as night is Tom the cat")
    for said in (asked[:1], (*asked, "Is Tom the cat white?")):
        memory, response = chat.begin(*said)
        request = await memory.augment(response)
        told = json.dumps(request.parsed["messages"][: -len(said)])
        assert ("sleeps" in told, "as night" in told, "cat black" in told) == (False, len(said) == 1, len(said) == 1)


async def test_of_answers_at_the_same_time_one_stays(chat: Chat) -> None:
    """The others are its former texts; none is lost, and none is there twice."""
    requests = [chat.begin(CAT) for _ in range(4)]
    for memory, response in requests:
        await memory.augment(response)
    replies = [f"Reply {number}" for number in range(4)]
    await asyncio.gather(*(chat.answer(*each, reply) for each, reply in zip(requests, replies, strict=True)))
    asked, reply = await chat.turns()
    assert asked == CAT
    assert sorted([reply, *await chat.former(reply)]) == replies


async def test_an_edited_message_takes_the_place_of_what_it_was(chat: Chat) -> None:
    """With all that followed; found by the person only if they ask for what is over, and by its id."""
    await chat.prepared()
    await chat.say(CAT, LOVELY, NAME, FINE, "It sleeps", reply="Cats do")
    await chat.say(CAT, LOVELY, "Its name is Kim", reply="A short name")
    assert await chat.turns() == [CAT, LOVELY, "Its name is Kim", "A short name"]
    assert set(await chat.former("Its name is Kim")) == {NAME, FINE, "It sleeps", "Cats do"}
    assert NAME not in await chat.told("What is the name?")
    assert NAME in await chat.told(PAST)
    assert FINE not in await chat.told(PAST)
    await chat.say(CAT, LOVELY, NAME, reply="Back to Tom")
    assert await chat.turns() == [CAT, LOVELY, NAME, "Back to Tom"]
    assert set(await chat.former(NAME)) == {NAME, FINE, "It sleeps", "Cats do", "Its name is Kim", "A short name"}
    chat.now += timedelta(hours=1)
    await chat.say(CAT, LOVELY, NAME, reply="Tom it is")
    assert await chat.turns() == [CAT, LOVELY, NAME, "Tom it is"], "the same words in the same place are the same turn"


@pytest.mark.parametrize(
    ("said", "conversation"),
    [
        pytest.param((NAME + "!",), "c", id="nothing before it"),
        pytest.param((CAT, "How nice!", "Its name is Kim"), "c", id="another reply before it"),
        pytest.param(("I have a dog", LOVELY, "Its name is Kim"), "c", id="another message before it"),
        pytest.param(("Hi", "Hello", CAT, LOVELY, "Its name is Kim"), "c", id="more before it that was not said"),
        pytest.param((CAT, LOVELY, "Its name is Kim"), "chat", id="no conversation is named"),
        pytest.param((CAT, LOVELY, NAME, FINE, "It sleeps"), "c", id="it follows"),
    ],
)
async def test_what_is_not_certain_is_a_new_turn(chat: Chat, said: Sequence[str], conversation: str) -> None:
    """Nothing is replaced on a guess."""
    await chat.say(CAT, reply=LOVELY, conversation=conversation)
    await chat.say(CAT, LOVELY, NAME, reply=FINE, conversation=conversation)
    await chat.say(*said, reply="Well", conversation=conversation)
    assert await chat.turns(conversation) == [CAT, LOVELY, NAME, FINE, said[-1], "Well"]


async def test_a_place_that_is_there_twice_is_none(chat: Chat) -> None:
    """Nor is that of a message whose reply is not there."""
    for name in (NAME, "Its name is Jim"):
        chat.now += timedelta(hours=1)
        await chat.say(CAT, reply=LOVELY)
        await chat.say(CAT, LOVELY, name, reply=FINE)
    before = await chat.turns()
    await chat.say(CAT, LOVELY, "Its name is Kim", reply="Well")
    assert await chat.turns() == [*before, "Its name is Kim", "Well"]
    memory, response = chat.begin(CAT, LOVELY, "Unanswered", conversation="d")
    await chat.say(CAT, reply=LOVELY, conversation="d")
    await memory.augment(response)
    await memory.remember(response)
    await chat.say(CAT, LOVELY, "Its name is Kim", reply="Well", conversation="d")
    assert await chat.turns("d") == [CAT, LOVELY, "Unanswered", "Its name is Kim", "Well"]


async def test_memories_of_a_replaced_message_go_with_it(chat: Chat) -> None:
    """They end, and what they had ended holds again; what the person marked stays marked."""
    await chat.say(CAT, reply=LOVELY)
    await chat.store.add(ANN, NewMemory("Lives in Porto"), id_="porto")
    await chat.say(CAT, LOVELY, "We moved to Lisbon", reply="When?")
    quoting = NewMemory(
        "Lives in Lisbon", quote="to Lisbon", message_id=await chat.id_of("We moved to Lisbon"), muted=True
    )
    await chat.store.add(ANN, quoting, id_="lisbon", supersedes="porto")
    await chat.say(CAT, LOVELY, "We will move to Lisbon", reply="When?")
    (listed,) = await list_memories(chat.engine, ANN, MemoryFilter(), limit=9)
    assert (listed.id, listed.valid_until, listed.superseded_by) == ("porto", None, None)
    kept = await list_memories(chat.engine, ANN, MemoryFilter(with_former=True), limit=9)
    ended = {each.text: each for each in kept if each.id != "porto"}
    assert ended.keys() == {"Lives in Lisbon", "We moved to Lisbon", "When?"}
    assert all(each.muted and each.valid_until is not None for each in ended.values())
    assert "We will move to Lisbon" in await chat.told("Who moves to Lisbon?"), "its own text has no mark"


@pytest.mark.parametrize("how", ["message", "items", "backup"])
async def test_a_replaced_message_is_forgotten_with_the_memories_that_quoted_it(chat: Chat, how: str) -> None:
    """Alone: the turn that stands there now stays, and no memory is taken for what it said before."""
    await chat.say(CAT, reply=LOVELY)
    await chat.say(CAT, LOVELY, "We moved to Lisbon", reply="When?")
    first = await chat.id_of("We moved to Lisbon")
    await chat.store.add(ANN, NewMemory("Lives in Lisbon", quote="to Lisbon", message_id=first), id_="lisbon")
    await chat.say(CAT, LOVELY, "We will move", reply="Oh")
    (replaced,) = [
        each for each in await former_turns(chat.engine, ANN, await chat.id_of("We will move")) if each.text != "When?"
    ]
    backup = await _rows(chat.engine)
    if how == "message":
        receipt = await chat.forgetter.memory(ANN, replaced.id)
    else:
        _, receipt = await chat.forgetter.items(ANN, memories=[replaced.id])
    assert receipt.is_complete
    if how == "backup":
        entries = await read_entries(chat.engine)
        await erasure.erase(chat.engine, ANN)
        await _restore(chat.engine, backup)
        await replay(chat.engine, chat.log, entries, now=chat.now)
    assert await chat.turns() == [CAT, LOVELY, "We will move", "Oh"]
    assert await chat.former("We will move") == ["When?"]
    left = await list_memories(chat.engine, ANN, MemoryFilter(with_former=True), limit=20)
    assert [each.text for each in left] == ["When?"]


async def test_what_is_set_aside_goes_with_the_turn_in_place_of_its_own(chat: Chat) -> None:
    """A memory that quoted a message and waits to be put back is no reason to keep its words."""
    await chat.prepared()
    await chat.store.add(ANN, NewMemory("A cat, Tom", quote="Tom", message_id=await chat.id_of(NAME)), id_="tom")
    await chat.forgetter.items(ANN, memories=["tom"], aside=Aside("wish", chat.now + timedelta(days=1)))
    await chat.say(CAT, LOVELY, "Its name is Kim", reply="Well")
    receipt = await chat.forgetter.message(ANN, await chat.id_of("Its name is Kim"))
    assert receipt is not None
    assert receipt.is_complete
    assert (await _rows(chat.engine))["set_aside"] == []


async def test_a_lost_reply_is_replaced_as_any(chat: Chat) -> None:
    """It came with the next request, and is known as the answer to the message before it."""
    memory, response = chat.begin(CAT)
    await memory.augment(response)
    await memory.remember(response)
    await chat.say(CAT, LOVELY, NAME, reply=FINE)
    assert await chat.turns() == [CAT, LOVELY, NAME, FINE]
    await chat.say(CAT, reply="How old is it?")
    assert await chat.turns() == [CAT, "How old is it?", NAME, FINE]
    assert await chat.former("How old is it?") == [LOVELY]


@pytest.mark.parametrize("how", ["message", "wish", "conversation", "person"])
async def test_former_texts_are_forgotten_with_their_turn(chat: Chat, how: str) -> None:
    """Those of its replies too; the receipt is complete, and a wish that is undone brings all back."""
    await chat.prepared()
    await chat.say(CAT, LOVELY, NAME, reply="Tom, then")
    await chat.say(CAT, LOVELY, "Its name is Kim", reply="Kim, then")
    await chat.say(CAT, LOVELY, "Its name is Kim", reply="Well, well")
    before = await read_history(chat.engine, ANN)
    if how == "wish":
        done = await chat.executor.execute(ANN, Forget("Kim"), conversation="c", message_id=None)
        receipt = done and done.receipt
        left = await list_memories(chat.engine, ANN, MemoryFilter(with_former=True), limit=20)
        assert left == []
        assert done is not None
        assert done.undo is not None
        await chat.store.undo(ANN, done.undo)
        after = await read_history(chat.engine, ANN)
        assert after.memories == before.memories
        assert await chat.former("Well, well") == ["Kim, then"]
        (former,) = await find_replaced(chat.engine, ANN, "chatcmpl-3")
        assert former.text == "Tom, then"
    elif how == "message":
        receipt = await chat.forgetter.message(ANN, await chat.id_of("Its name is Kim"))
        assert await list_memories(chat.engine, ANN, MemoryFilter(with_former=True), limit=20) == []
    elif how == "conversation":
        receipt = await chat.forgetter.conversation(ANN, "c")
        assert (await erasure.count(chat.engine, ANN))["memories"] == 0
    else:
        receipt = await chat.forgetter.everything(ANN)
    assert receipt is not None
    assert receipt.is_complete


async def test_what_was_replaced_and_deleted_does_not_come_back_with_a_backup(chat: Chat) -> None:
    """A backup from before the edit has the turn itself."""
    await chat.prepared()
    backup = await _rows(chat.engine)
    await chat.say(CAT, LOVELY, "Its name is Kim", reply="Well")
    await chat.forgetter.message(ANN, await chat.id_of("Its name is Kim"))
    entries = await read_entries(chat.engine)
    await erasure.erase(chat.engine, ANN)
    await _restore(chat.engine, backup)
    assert await chat.turns() == [CAT, LOVELY, NAME, FINE]
    await replay(chat.engine, chat.log, entries, now=chat.now)
    assert NAME not in await chat.turns()


async def _rows(engine: AsyncEngine) -> dict[str, list[Any]]:
    async with engine.connect() as connection:
        found = {}
        for table in erasure.owned_tables():
            found[table.name] = [dict(row) for row in (await connection.execute(table.select())).mappings()]
        return found


async def _restore(engine: AsyncEngine, rows: dict[str, list[Any]]) -> None:
    async with engine.begin() as connection:
        await connection.execute(delete(Erasure))
        for table in sorted(erasure.owned_tables(), key=lambda each: ORDER.get(each.name, 9)):
            if rows[table.name]:
                await connection.execute(table.insert(), rows[table.name])


ORDER = {"people": 0, "conversations": 1, "messages": 2}


async def test_former_texts_move_with_an_export(chat: Chat) -> None:
    """Under the new id of their turn, and under the replaced reply's own."""
    await chat.prepared()
    await chat.say(CAT, LOVELY, NAME, reply="Tom, then")
    history = await read_history(chat.engine, ANN)
    await write_history(chat.engine, BEN, history, now=chat.now)
    (former,) = await find_replaced(chat.engine, BEN, "chatcmpl-2")
    moved = (await read_history(chat.engine, BEN)).conversations["c"][-1]
    assert (former.text, former.replaced_by, moved.text) == (FINE, moved.id, "Tom, then")
