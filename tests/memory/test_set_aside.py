"""What a wish in a chat takes away can be had back for a day, and is nowhere to be found until then."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.set_aside import wipe
from memory.erasure import Forgetter
from memory.intents.detector import Forget
from memory.intents.executor import UNDO, Done, IntentExecutor
from memory.recall.index_cache import IndexCache
from memory.schemas import Document
from memory.service import MemoryService
from storage.database import open_engine
from storage.memory.conversations import NewMessage, ingest
from storage.memory.deletion import delete_items
from storage.memory.export import read_history
from storage.memory.memories import NewMemory, NoSuchMemory, find_memories
from storage.memory.owner import Owner
from storage.memory.reply_context import ContextItem, list_context
from storage.memory.set_aside import Aside, list_wishes, wipe_expired
from storage.memory.tables import SetAside
from storage.migrate import upgrade
from tests.support.memory.intents import intent_of

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
DAY = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
TEXTS = ("I moved to Porto", "Porto is nice", "I bought a kite", "Kites fly")


class Past:
    """Ann's past, and what can be done with it."""

    def __init__(
        self, engine: AsyncEngine, store: MemoryService, index_cache: IndexCache, clock: Callable[[], datetime]
    ) -> None:
        self.engine = engine
        self.store = store
        self.forgetter = Forgetter(engine, index_cache, {}, clock)
        self._executor = IntentExecutor(engine, store, self.forgetter, clock)

    async def fill(self, owner: Owner = ANN) -> dict[str, str]:
        """Have a conversation and memories of it, one of which has taken another's place."""
        turns = [
            NewMessage(f"m{at}", "Ann" if at % 2 == 0 else "assistant", text, DAY + timedelta(minutes=at))
            for at, text in enumerate(TEXTS)
        ]
        ids = (await self.store.ingest(owner, "c", turns)).ids
        await self.store.add(owner, NewMemory("Lives in Lisbon"), id_="old")
        quoted = NewMemory("Lives in Porto", quote="moved to Porto", message_id=ids["m0"])
        await self.store.add(owner, quoted, id_="new", supersedes="old")
        context = [ContextItem("memory", "new", 1, 0.5, {"lexical": [1, 2.0]}, {})]
        reply = NewMessage("r", "assistant", "How nice", DAY + timedelta(minutes=9))
        await self.store.exchange(owner, "c").store_reply(reply, context, answers="m2")
        return ids

    async def forget(self, about: str, owner: Owner = ANN) -> Done:
        """Execute an intent whose message was not stored."""
        return await self._executor.execute(owner, Forget(about), conversation="c", message_id=None)

    async def document(self, owner: Owner = ANN) -> str:
        """Return all that an export has."""
        return Document.of(await read_history(self.engine, owner)).model_dump_json()

    async def rows(self) -> int:
        """Return how much is set aside, whosever."""
        async with self.engine.connect() as connection:
            return len((await connection.execute(select(SetAside.item_id))).all())


@pytest.fixture
def past(engine: AsyncEngine, store: MemoryService, index_cache: IndexCache, clock: Callable[[], datetime]) -> Past:
    """Return a past without anything in it."""
    return Past(engine, store, index_cache, clock)


async def test_an_undone_wish_leaves_everything_as_it_was(past: Past, index_cache: IndexCache) -> None:
    """Turns in their places, memories with what they had superseded, what replies were given, and recall."""
    await past.fill()
    before = json.loads(await past.document())
    done = await past.forget("Porto")
    assert done.undo is not None
    assert done.receipt is not None
    assert done.receipt.is_complete
    assert done.receipt.kept == {"set_aside": 3}
    assert "Porto" not in await past.document()
    assert not {each.record.text for each in await past.store.recall(ANN, "Porto", limit=9)} & set(TEXTS[:2])
    back = await past.store.undo(ANN, done.undo)
    assert back is not None
    assert (back.turns, back.memories) == (2, 1)
    assert json.loads(await past.document()) == before
    assert TEXTS[0] in {each.record.text for each in await past.store.recall(ANN, "Porto", limit=9)}
    (reply,) = [each for turns in (await read_history(past.engine, ANN)).conversations.values() for each in turns][-1:]
    assert [each.item_id for each in await list_context(past.engine, ANN, reply.id)] == ["new"]
    assert (await find_memories(past.engine, ANN, ["old"]))["old"].superseded_by == "new"
    assert await past.rows() == 0


async def test_a_whole_conversation_comes_back(past: Past) -> None:
    """Although it was gone with its last turn."""
    turn = NewMessage("only", "Ann", "A secret", DAY)
    await past.store.ingest(ANN, "short", [turn])
    done = await past.forget("secret")
    assert (await read_history(past.engine, ANN)).conversations == {}
    assert done.undo is not None
    await past.store.undo(ANN, done.undo)
    (turns,) = (await read_history(past.engine, ANN)).conversations.values()
    assert [each.text for each in turns] == ["A secret"]


async def test_what_was_taken_in_again_meanwhile_stays(past: Past) -> None:
    """Twice is once; a memory finds its quote there, or comes back without one."""
    await past.fill()
    done = await past.forget("Porto")
    assert done.undo is not None
    await past.store.ingest(ANN, "c", [NewMessage("m0", "Ann", "Something else", DAY)])
    back = await past.store.undo(ANN, done.undo)
    assert back is not None
    assert (back.turns, back.memories) == (1, 1)
    memory = (await find_memories(past.engine, ANN, ["new"]))["new"]
    assert (memory.text, memory.quote, memory.message_id) == ("Lives in Porto", None, None)


async def test_only_ones_own_wish_and_only_once(past: Past) -> None:
    """Another person's id, an unknown one and one that was undone are the same: none."""
    await past.fill()
    await past.fill(BEN)
    done = await past.forget("Porto")
    assert done.undo is not None
    assert await past.store.undo(BEN, done.undo) is None
    assert await past.store.undo(ANN, "unknown") is None
    assert await past.store.undo(ANN, done.undo) is not None
    assert await past.store.undo(ANN, done.undo) is None


async def test_after_a_day_it_is_gone_for_good(past: Past, clock: Callable[[], datetime]) -> None:
    """Nobody can have it back then, and the job deletes it; what is younger stays."""
    await past.fill()
    done = await past.forget("Porto")
    assert done.undo is not None
    (intent,) = await list_wishes(past.engine, ANN, now=clock())
    assert (intent.id, intent.turns, intent.memories) == (done.undo, 2, 1)
    assert await wipe_expired(past.engine, now=intent.expires_at - timedelta(seconds=1)) == 0
    clock.now += UNDO  # type: ignore[attr-defined]  # a Clock
    assert await list_wishes(past.engine, ANN, now=clock()) == []
    assert await past.store.undo(ANN, done.undo) is None
    await past.forget("kite")
    assert await wipe_expired(past.engine, now=clock()) == 3
    assert await past.rows() == 2


@pytest.mark.parametrize("by", ["person", "app", "conversation", "message", "memory", "wish"])
async def test_forgetting_directly_reaches_what_is_set_aside(past: Past, by: str) -> None:
    """It is not kept for a day then: the receipt finds nothing."""
    ids = await past.fill()
    done = await past.forget("Porto")
    assert done.undo is not None
    match by:
        case "person":
            receipt = await past.forgetter.everything(ANN)
        case "app":
            receipt = await past.forgetter.everything("app")
        case "conversation":
            receipt = await past.forgetter.conversation(ANN, "c")
        case "message":
            receipt = await past.forgetter.message(ANN, ids["m0"])
        case "memory":
            receipt = await past.forgetter.memory(ANN, "new")
            with pytest.raises(NoSuchMemory):
                await past.forgetter.memory(ANN, "new")
        case _:
            assert await past.forgetter.wish(ANN, done.undo)
            assert await past.rows() == 0
            return
    assert receipt is not None
    assert receipt.is_complete
    left = {"message": 1, "memory": 2}  # the other turn, which is no part of what was named
    assert await past.rows() == left.get(by, 0)


def test_the_job_leaves_nothing_in_the_file(tmp_path: Path) -> None:
    """Of what has expired, in SQLite's pages and write-ahead log; it is there until then."""
    path = tmp_path / "bondhu.db"
    url = f"sqlite+aiosqlite:///{path}"
    upgrade(url)

    def content() -> bytes:
        return b"".join(each.read_bytes() for each in tmp_path.iterdir())

    async def set_one_aside() -> None:
        engine = open_engine(url)
        ingested = await ingest(engine, ANN, "c", [NewMessage("m", "Ann", "Ocelots purr", DAY)], now=DAY)
        aside = Aside("w", DAY + UNDO)
        await delete_items(engine, ANN, turns=list(ingested.ids.values()), memories=(), now=DAY, aside=aside)
        await engine.dispose()

    asyncio.run(set_one_aside())
    assert asyncio.run(wipe(url, now=DAY)) == 0
    assert b"Ocelots" in content()
    assert asyncio.run(wipe(url, now=DAY + UNDO)) == 1
    assert b"Ocelots" not in content()


async def test_a_word_is_not_forgotten_by_its_pieces(past: Past) -> None:
    """Combining marks belong to their letter: a mother is not everything that is written with the same letters."""
    texts = ("আমার নাম মিতা।", "আম্মা ভালো আছেন", "আম খাই", "cafe\u0301 noir", "cafe latte")
    turns = [NewMessage(str(at), "Ann", text, DAY + timedelta(minutes=at)) for at, text in enumerate(texts)]
    await past.store.ingest(ANN, "c", turns)
    intent = intent_of("Forget everything about আম্মা")
    assert intent == Forget("আম্মা")
    assert (await past.forget("আম্মা")).count == 1
    assert (await past.forget("caf\u00e9")).count == 1  # composed, it is the same word
    (left,) = (await read_history(past.engine, ANN)).conversations.values()
    assert [each.text for each in left] == [texts[0], texts[2], texts[4]]
