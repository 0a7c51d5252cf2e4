"""Isolation below the API: no statement without an owner, and no more indexes than there is room for."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter
from memory.intents.detector import Forget, Mute, Remember
from memory.intents.executor import IntentExecutor
from memory.language.folding import containing
from memory.recall.index_cache import IndexCache
from memory.recall.person_index import PersonIndex
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.erasure import KEPT, owned_tables
from storage.memory.export import read_history
from storage.memory.memories import MemoryFilter, NewMemory, list_memories
from storage.memory.owner import Owner
from storage.memory.people import Profile, write_profile
from storage.memory.tables import Owned

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = [each.__tablename__ for each in Owned.__subclasses__()]


def test_a_person_stands_first_in_every_key() -> None:
    """Of every table with something of theirs but the ledger, which has no content."""
    first = {table.name: [column.name for column in table.primary_key.columns][:2] for table in owned_tables()}
    assert len(first) > 15
    assert {name for name, columns in first.items() if columns != ["app", "end_user"]} == KEPT


async def test_every_statement_names_its_owner(
    store: MemoryService, engine: AsyncEngine, index_cache: IndexCache
) -> None:
    """Whatever reads or writes a person's table says whose: each table, each time it is named, with app and user."""
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    forgetter = Forgetter(engine, index_cache, {}, lambda: DAY)
    for text in ("One", "Two"):
        ingested = await store.ingest(ANN, "c", [NewMessage(text, "Ann", text, DAY)])
    await store.ingest(ANN, "c", [NewMessage("Before", "Ann", "Before", datetime(2025, 1, 1, tzinfo=UTC))])
    quoted = NewMemory("x", quote="Two", message_id=ingested.ids["Two"])
    old, _ = await store.add(ANN, quoted, id_="old")
    new, _ = await store.add(ANN, NewMemory("y"), supersedes=old.id)
    await store.edit(ANN, new.id, {"text": "z"})
    await write_profile(engine, ANN, Profile("Ann", {}), now=DAY)
    await store.recall(ANN, "One", limit=5)
    await list_memories(engine, ANN, MemoryFilter(has_text=containing("z")), limit=5, after=new.id)
    await store.take_in(Owner("app", "ben"), await read_history(engine, ANN))
    executor = IntentExecutor(engine, store, forgetter, lambda: DAY)
    for intent in (Remember(None), Mute(None), Forget("one")):
        done = await executor.execute(ANN, intent, conversation="c", message_id=ingested.ids["Two"])
        assert done.count == 1
    await forgetter.memory(ANN, new.id)
    await forgetter.message(ANN, ingested.ids["Two"])
    await forgetter.conversation(ANN, "c")
    await forgetter.everything(ANN)
    statements = [
        each.replace("(SELECT 1 FROM (SELECT 1) WHERE 1!=1)", "()") for each in statements
    ]  # SQLite's empty ()
    about_people = [each for each in statements if re.search(rf"\b({'|'.join(TABLES)})\b", each)]
    assert len(about_people) > 60
    for statement in about_people:
        assert re.search(r"INSERT INTO \w+ \(app, end_user|app = \S+ AND \S*end_user = ", statement), statement
        for selected in re.findall(r"\(SELECT .+?\)", statement, re.DOTALL):
            assert "end_user = " in selected, statement


async def test_views_that_were_not_used_for_longest_go(
    store: MemoryService, make_index_cache: Callable[..., IndexCache]
) -> None:
    """All indexes together stay within the bound, the one in use stays whatever its size, and an index comes back."""
    owners = [Owner("app", str(number)) for number in range(5)]
    for owner in owners:
        await store.add(owner, NewMemory(f"Of {owner.user}: {'many words ' * 50}"))
    measure = make_index_cache()
    await measure.with_index(owners[0], len_of_people)
    one_bytes = measure.size_bytes
    index_cache = make_index_cache(int(one_bytes * 2.5))
    for owner in (*owners[:3], owners[1], owners[3]):
        assert await index_cache.with_index(owner, len_of_people) == 0
        assert index_cache.size_bytes <= one_bytes * 2.5
    assert [index_cache.count(owner) for owner in owners] == [0, 1, 0, 1, 0]
    tiny = make_index_cache(1)
    for owner in owners:
        assert await tiny.with_index(owner, len_of_people) == 0
        assert tiny.count("app") == tiny.count(owner) == 1
    assert await index_cache.with_index(Owner("app", "nobody"), len_of_people) is None


def len_of_people(index: PersonIndex) -> int:
    """Return how many have spoken."""
    return len(index.people)
