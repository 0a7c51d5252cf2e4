"""Whatever people do in whatever order, SQL and all indexes agree, and erasure leaves the others whole."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.erasure import Forgetter
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage import migrate
from storage.database import open_engine
from storage.memory import erasure
from storage.memory.conversations import NewMessage
from storage.memory.export import read_history
from storage.memory.former_texts import BEGINNING
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder

OWNERS = [Owner(app, user) for app in ("one", "two") for user in ("ann", "ben")]
DAY = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ("apple", "banana", "cherry", "damson")
ACTIONS = ("say", "add", "edit", "delete", "leave", "unsay", "forget", "read")
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(OWNERS), st.integers(0, 5), st.integers(0, 5)), max_size=14
)


async def run(url: str, steps: list[tuple[str, Owner, int, int]]) -> None:
    """Do the steps on an empty database, and keep a model of what each owner has."""
    engine = open_engine(url)
    embedder = WordEmbedder()
    index_caches = [IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**20) for _ in range(3)]
    store = MemoryService(engine, index_caches[0], embedder, lambda: DAY)
    other = MemoryService(engine, index_caches[1], embedder, lambda: DAY)
    forgetter = Forgetter(engine, index_caches[0], {}, lambda: DAY)
    expected: dict[Owner, dict[tuple[str, ...], str]] = {owner: {} for owner in OWNERS}
    for app in {owner.app for owner in OWNERS}:
        await erasure.erase(engine, app)
    for what, owner, first, second in steps:
        has, words = expected[owner], f"{WORDS[first % 4]} {first} {second} of {owner.user}"
        if what == "say":
            message = NewMessage(f"m{first}", owner.user, words, DAY + timedelta(minutes=first))
            await store.ingest(owner, f"c{second % 2}", [message])
            has.setdefault(("turn", f"c{second % 2}", f"m{first}"), words)
        elif what == "add":
            await store.add(owner, NewMemory(words), id_=f"k{first}")
            has.setdefault(("memory", f"k{first}"), words)
        elif ("memory", f"k{first}") in has and what == "edit":
            await store.edit(owner, f"k{first}", {"text": words})
            has["memory", f"k{first}"] = words
        elif ("memory", f"k{first}") in has and what == "delete":
            assert (await forgetter.memory(owner, f"k{first}")).is_complete
            del has["memory", f"k{first}"]
        elif what == "leave":
            receipt = await forgetter.conversation(owner, f"c{second % 2}")
            assert receipt is None or receipt.is_complete
            expected[owner] = {key: text for key, text in has.items() if key[:2] != ("turn", f"c{second % 2}")}
        elif what == "unsay" and ("turn", f"c{second % 2}", f"m{first}") in has:
            messages = (await read_history(engine, owner)).conversations[f"c{second % 2}"]
            (id_,) = [each.id for each in messages if each.external_id == f"m{first}"]
            receipt = await forgetter.message(owner, id_)
            assert receipt is not None
            assert receipt.is_complete
            del has["turn", f"c{second % 2}", f"m{first}"]
        elif what == "forget" and first < 2:
            assert (await forgetter.everything(owner)).is_complete
            expected[owner] = {}
        elif what == "read":
            await other.recall(owner, words, limit=50)  # an old index, which is updated later
    fresh = MemoryService(engine, index_caches[2], embedder, lambda: DAY)
    for owner in OWNERS:
        await agree(engine, owner, sorted(expected[owner].values()), [store, other, fresh])
    for index_cache in index_caches:
        index_cache.close()
    await engine.dispose()


async def agree(engine: Any, owner: Owner, expected: list[str], stores: list[MemoryService]) -> None:
    """Check that SQL has exactly that, and that every store recalls all of it, as near as the others find it."""
    history = await read_history(engine, owner)
    turns = [each.text for messages in history.conversations.values() for each in messages]
    current = [each for each in history.memories if not each.id.startswith(BEGINNING)]
    assert sorted([*turns, *(each.text for each in current)]) == expected
    former_of = {each.superseded_by for each in history.memories if each.id.startswith(BEGINNING)}
    assert former_of <= {each.id for each in current}, "a former text goes with its memory"
    question = "apple banana cherry damson of ann ben"
    found = [await store.recall(owner, question, limit=99) for store in stores]
    near = [sorted((one.record.id, round(one.ranked.by_ranker["window"].score, 5)) for one in each) for each in found]
    assert near == [near[0]] * len(stores)
    for each in found:
        assert sorted(one.record.text for one in each) == expected


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_all_views_agree_with_sql(tmp_path: Path, steps: list[tuple[str, Owner, int, int]]) -> None:
    """After any steps of four people, each has exactly what they were left with, wherever it is read."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bondhu.db'}"
    migrate.upgrade(url)
    asyncio.run(run(url, steps))
