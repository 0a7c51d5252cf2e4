"""Operations on a person's data in a process that can be killed at any write.

A step is before a writing statement, before a commit, or after one.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.embedding.backfill import Backfill, Known
from memory.erasure import Forgetter
from memory.intents.detector import Forget, Mute
from memory.intents.executor import IntentExecutor
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.database import open_engine
from storage.memory import people
from storage.memory.conversations import NewMessage
from storage.memory.export import History, read_history
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.reply_context import ContextItem
from storage.memory.turns.once import Said
from storage.memory.turns.place import Earlier
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

ANN, BEN, FRIEND = Owner("app", "ann"), Owner("app", "ben"), "assistant"
DAY = datetime(2026, 1, 1, tzinfo=UTC)
CONTEXT_ITEM = ContextItem("memory", "plain", 1, 0.5, {"lexical": [1, 2.0]}, {"recency": 1.0})


def turns(*numbers: int) -> list[NewMessage]:
    """Return turns of these minutes."""
    return [NewMessage(f"m{each}", "Ann", f"Turn {each}", DAY + timedelta(minutes=each)) for each in numbers]


def reply(number: int) -> NewMessage:
    """Return the friend's turn of this minute."""
    return replace(turns(number)[0], speaker=FRIEND)


class Workplace:
    """A store with all that belongs to it, on the database `url`."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self.embedder = WordEmbedder()
        self.index_cache = IndexCache(self.engine, self.embedder.space, dimensions=DIMENSIONS, max_bytes=2**30)
        self.store = MemoryService(self.engine, self.index_cache, self.embedder, lambda: DAY + timedelta(days=1))
        self.forgetter = Forgetter(self.engine, self.index_cache, {}, lambda: DAY)
        self.executor = IntentExecutor(self.engine, self.store, self.forgetter, lambda: DAY)

    async def close(self) -> None:
        """Let go of it."""
        self.index_cache.close()
        await self.engine.dispose()

    async def prepare(self) -> None:
        """Give Ann and Ben two conversations and three memories: one quotes a turn, one has a former text."""
        for owner in (ANN, BEN):
            ingested = await self.store.ingest(owner, "c1", turns(1, 5))
            quoted = NewMemory("Quoted", quote="Turn 1", message_id=ingested.ids["m1"])
            await self.store.add(owner, quoted, id_="quoted")
            await self.store.add(owner, NewMemory("Plain"), id_="plain")
            await self.store.add(owner, NewMemory("Corected"), id_="corrected")
            await self.store.edit(owner, "corrected", {"text": "Corrected"})
            for number in (11, 13):
                await self.store.ingest(owner, "c3", turns(number))
                exchange = self.store.exchange(owner, "c3")
                await exchange.store_reply(reply(number + 1), [], answers=f"m{number}")
                await exchange.end()


async def _move(workplace: Workplace) -> None:
    history = await read_history(workplace.engine, BEN)
    memories = [replace(each, id=f"moved-{each.id}") for each in history.memories]
    await workplace.store.take_in(ANN, History(history.profile, {"moved": history.conversations["c1"]}, memories))


async def _delete_message(workplace: Workplace) -> None:
    (message,) = [
        each for each in (await read_history(workplace.engine, ANN)).conversations["c1"] if each.text == "Turn 1"
    ]
    await workplace.forgetter.message(ANN, message.id)


async def _reply(workplace: Workplace) -> None:
    exchange = workplace.store.exchange(ANN, "c1")
    await exchange.store_reply(turns(7)[0], [CONTEXT_ITEM], answers="m5")
    await exchange.end()


async def _answer_again(workplace: Workplace) -> None:
    exchange = workplace.store.exchange(ANN, "c3")
    await exchange.store_reply(reply(20), [CONTEXT_ITEM], answers="m13")
    await exchange.end()


async def _edit_message(workplace: Workplace) -> None:
    exchange = workplace.store.exchange(ANN, "c3")
    earlier = Earlier((("Turn 11", False), ("Turn 12", True)), FRIEND)
    await exchange.store_message(Said(turns(21)[0], earlier=earlier))
    await exchange.end()


OPERATIONS: dict[str, Callable[[Workplace], Awaitable[Any]]] = {
    "begin a conversation": lambda workplace: workplace.store.ingest(ANN, "c2", turns(1, 2)),
    "append": lambda workplace: workplace.store.ingest(ANN, "c1", turns(5, 6)),
    "insert between": lambda workplace: workplace.store.ingest(ANN, "c1", turns(3)),
    "reply": _reply,
    "answer again": _answer_again,
    "edit a message": _edit_message,
    "add": lambda workplace: workplace.store.add(ANN, NewMemory("New"), id_="new"),
    "supersede": lambda workplace: workplace.store.add(ANN, NewMemory("New"), id_="new", supersedes="plain"),
    "edit": lambda workplace: workplace.store.edit(ANN, "plain", {"text": "Edited"}),
    "edit again": lambda workplace: workplace.store.edit(ANN, "corrected", {"text": "Again", "persona": "maya"}),
    "delete what was edited": lambda workplace: workplace.forgetter.memory(ANN, "corrected"),
    "pin": lambda workplace: workplace.store.edit(ANN, "plain", {"pinned": True}),
    "mark": lambda workplace: workplace.store.edit(ANN, "quoted", {"painful_at": DAY}),
    "mute": lambda workplace: workplace.executor.execute(ANN, Mute("turn 1"), conversation="c1", message_id=None),
    "wish to forget": lambda workplace: workplace.executor.execute(
        ANN, Forget("turn 5"), conversation="c1", message_id=None
    ),
    "profile": lambda workplace: people.write_profile(workplace.engine, ANN, people.Profile("Ann", {"a": 1}), now=DAY),
    "take in": _move,
    "delete": lambda workplace: workplace.forgetter.memory(ANN, "quoted"),
    "delete a conversation": lambda workplace: workplace.forgetter.conversation(ANN, "c1"),
    "delete a message": _delete_message,
    "forget a person": lambda workplace: workplace.forgetter.everything(ANN),
    "forget an application": lambda workplace: workplace.forgetter.everything("app"),
}


async def reembed(workplace: Workplace) -> None:
    """Make the next model's vectors, 4 items at a time, and delete those of the one before the present."""

    async def rest(_: float) -> None:
        """Take none."""

    background = Backfill(
        workplace.engine, Known(), now=lambda: DAY, clock=lambda: 0.0, ends_s=1.0, sleep=rest, portion=4
    )
    await background.run(workplace.embedder, WordEmbedder("2"))


BACKGROUND: dict[str, Callable[[Workplace], Awaitable[Any]]] = {"re-embed": reembed}


def run(url: str, operation: str, moment: int, acknowledged: Path) -> None:
    """Do the operation and note that it was acknowledged; SIGKILL this process at this moment (from 0), if it comes."""
    asyncio.run(_run(url, operation, moment, acknowledged.touch))


async def _run(url: str, operation: str, moment: int, acknowledge: Callable[[], None]) -> None:
    workplace = Workplace(url)
    arm(workplace.engine, moment)
    await (OPERATIONS | BACKGROUND)[operation](workplace)
    acknowledge()
    await workplace.close()


def arm(engine: AsyncEngine, moment: int) -> None:
    """SIGKILL this process at this moment (from 0) of what `engine` writes."""
    passed = 0

    def pass_one(*_: Any) -> None:
        nonlocal passed
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def is_write(statement: str) -> bool:
        return not statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN"))

    committing = False

    def commit(*_: Any) -> None:
        nonlocal committing
        pass_one()
        committing = True

    def checkin(*_: Any) -> None:
        nonlocal committing
        if committing:
            pass_one()
        committing = False

    sync = engine.sync_engine
    event.listen(sync, "before_cursor_execute", lambda *arguments: pass_one() if is_write(arguments[2]) else None)
    event.listen(sync, "commit", commit)  # before the driver is told
    event.listen(sync.pool, "checkin", checkin)  # after
