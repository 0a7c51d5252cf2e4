"""What is forgotten is nowhere: one memory, a conversation, a person, an application's people."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.erasure import Forgetter
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from storage.memory import erasure, memories, people
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryRecord, NewMemory
from storage.memory.owner import Owner
from storage.memory.tables import Owned
from storage.tables import Base
from tests.support.memory.records import holds_at
from tests.support.memory.word_embedder import WordEmbedder

ANN, BEN, CAT = Owner("one", "ann"), Owner("one", "ben"), Owner("two", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)
SECRETS = {ANN: "aardvark", BEN: "buffalo", CAT: "cormorant"}


class Cache:
    """A place that holds something of everybody until it is told to forget."""

    def __init__(self) -> None:
        self.held: set[Owner] = set(SECRETS)

    async def forget(self, whom: Owner | str) -> None:
        """Delete it."""
        self.held = {each for each in self.held if whom not in (each, each.app)}

    async def count(self, whom: Owner | str) -> int:
        """Return how many are held."""
        return sum(whom in (each, each.app) for each in self.held)


@pytest.fixture
def cache() -> Cache:
    """Return a place with something of everybody."""
    return Cache()


@pytest.fixture
def forgetter(engine: AsyncEngine, index_cache: IndexCache, cache: Cache, clock: Callable[[], datetime]) -> Forgetter:
    """Return one that knows the cache."""
    return Forgetter(engine, index_cache, {"answers": cache}, clock)


async def fill(store: MemoryService, engine: AsyncEngine) -> dict[Owner, MemoryRecord]:
    """Give everybody a profile, two turns and two memories with their secret, and an index; return the first memory."""
    made = {}
    for owner, secret in SECRETS.items():
        await people.write_profile(engine, owner, people.Profile(secret, {"pet": secret}), now=DAY)
        turns = [NewMessage(f"{secret} {number}", secret, f"My {secret} {number}", DAY) for number in range(2)]
        ingested = await store.ingest(owner, f"about the {secret}", turns)
        quoted = NewMemory(f"Has a {secret}", quote=f"My {secret}", message_id=ingested.ids[f"{secret} 0"])
        made[owner], _ = await store.add(owner, quoted)
        later, _ = await store.add(owner, NewMemory(f"Feeds the {secret}"), supersedes=made[owner].id)
        await store.edit(owner, later.id, {"text": f"Combs the {secret}", "tags": [secret]})
        assert len(await store.recall(owner, secret, limit=9)) == 3  # the one that was superseded does not hold
    return made


async def everything(engine: AsyncEngine) -> str:
    """Return all rows of all tables as text; what an erasure leaves of a secret would stand in it."""
    found = []
    async with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            found += [repr(row) for row in await connection.execute(text(f'select * from "{table.name}"'))]
    return "\n".join(found)


async def test_a_person_is_gone_everywhere(
    store: MemoryService, engine: AsyncEngine, forgetter: Forgetter, index_cache: IndexCache, cache: Cache
) -> None:
    """No row and no index of theirs is left, the receipt says so place by place, and others keep all."""
    await fill(store, engine)
    receipt = await forgetter.everything(ANN)
    assert receipt.is_complete
    owned = {each.__tablename__ for each in Owned.__subclasses__()}
    assert set(receipt.remaining) == owned | {"consents", "indexes", "answers", "write_ahead_log"}
    assert receipt.kept == {"requests": 0}
    left = await everything(engine)
    assert "aardvark" not in left
    assert left.count("buffalo") == left.count("cormorant") > 5
    assert cache.held == {BEN, CAT}
    assert (index_cache.count(ANN), index_cache.count(BEN)) == (0, 1)
    assert await store.recall(ANN, "aardvark", limit=9) == []
    assert len(await store.recall(BEN, "buffalo", limit=9)) == 3


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # Postgres overwrites when it vacuums
async def test_what_is_forgotten_leaves_the_file(
    store: MemoryService, engine: AsyncEngine, forgetter: Forgetter, tmp_path: Path
) -> None:
    """SQLite's file and its log do not hold the bytes any more; those of others they do."""
    await fill(store, engine)
    await forgetter.everything(ANN)
    held = b"".join((tmp_path / name).read_bytes() for name in ("bondhu.db", "bondhu.db-wal"))
    assert b"aardvark" not in held
    assert b"buffalo" in held


async def test_all_people_of_an_application_are_gone(
    store: MemoryService, engine: AsyncEngine, forgetter: Forgetter
) -> None:
    """Every person of it, and nobody of another."""
    await fill(store, engine)
    receipt = await forgetter.everything("one")
    assert receipt.is_complete
    left = await everything(engine)
    assert "aardvark" not in left
    assert "buffalo" not in left
    assert len(await store.recall(CAT, "cormorant", limit=9)) == 3


async def test_a_receipt_tells_what_is_left(store: MemoryService, engine: AsyncEngine, index_cache: IndexCache) -> None:
    """A place that keeps something makes the receipt incomplete: it is counted, not assumed."""

    class Stubborn(Cache):
        async def forget(self, whom: Owner | str) -> None:
            """Keep it."""

    await fill(store, engine)
    receipt = await Forgetter(engine, index_cache, {"answers": Stubborn()}, lambda: DAY).everything(ANN)
    assert not receipt.is_complete
    assert {target: left for target, left in receipt.remaining.items() if left} == {"answers": 1}


async def test_one_memory_is_gone(store: MemoryService, engine: AsyncEngine, forgetter: Forgetter) -> None:
    """It, its vectors, and what others knew of it; another person's of the same id stays, and an unknown id is told."""
    first = (await fill(store, engine))[ANN]
    later, _ = await store.add(ANN, NewMemory("Walks the aardvark"), id_="later", supersedes=first.id)
    await store.add(BEN, NewMemory("Of Ben"), id_="later")
    receipt = await forgetter.memory(ANN, "later")
    assert receipt.is_complete
    places = ("memories", "memory_sources", "embeddings", "given", "set_aside", "indexes", "answers", "write_ahead_log")
    assert receipt.remaining == dict.fromkeys(places, 0)
    assert "Walks the aardvark" not in await everything(engine)
    assert (await memories.find_memories(engine, ANN, [first.id]))[first.id].superseded_by is None
    assert len(await memories.find_memories(engine, BEN, ["later"])) == 1
    with pytest.raises(memories.NoSuchMemory):
        await forgetter.memory(ANN, later.id)


async def test_a_conversation_is_gone_with_what_was_drawn_from_it(
    store: MemoryService, engine: AsyncEngine, forgetter: Forgetter
) -> None:
    """Its turns, the memories that quote them, and all their vectors; memories of other sources stay."""
    await fill(store, engine)
    receipt = await forgetter.conversation(ANN, "about the aardvark")
    assert receipt is not None
    assert receipt.is_complete
    assert [each.record.text for each in await store.recall(ANN, "aardvark", limit=9)] == ["Combs the aardvark"]
    left = await everything(engine)
    assert "My aardvark" not in left
    assert "Has a aardvark" not in left
    assert await forgetter.conversation(BEN, "about the aardvark") is None


async def test_one_turn_is_gone_with_what_was_drawn_from_it(
    store: MemoryService, engine: AsyncEngine, forgetter: Forgetter, embedder: WordEmbedder
) -> None:
    """It, the memories that quote it, and all their vectors; the turns beside it stand beside each other at once."""
    await fill(store, engine)
    turns = [NewMessage(str(each), "Ann", f"Number {each}", DAY + timedelta(minutes=each)) for each in range(4)]
    ids = (await store.ingest(ANN, "numbers", turns)).ids
    quoted, _ = await store.add(ANN, NewMemory("Said one", quote="Number 1", message_id=ids["1"]))
    before, _ = await store.add(ANN, NewMemory("Said none"))
    await store.add(ANN, NewMemory("Said one at last", message_id=ids["1"]), supersedes=before.id)
    receipt = await forgetter.message(ANN, ids["1"])
    assert receipt is not None
    assert receipt.is_complete
    tables = {"messages", "memories", "memory_sources", "embeddings", "given", "set_aside"}
    assert set(receipt.remaining) == tables | {"indexes", "answers", "write_ahead_log"}
    left = await everything(engine)
    assert not [words for words in ("Number 1", "Said one", ids["1"], quoted.id) if words in left]
    assert (await memories.find_memories(engine, ANN, [before.id]))[before.id].superseded_by is None
    embedder.texts.clear()
    assert len(await store.recall(ANN, "number", limit=9)) == 6  # three turns, and what there was
    assert {"Ann: Number 0\nAnn: Number 2", "Ann: Number 0\nAnn: Number 2\nAnn: Number 3"} <= set(embedder.texts)
    assert await forgetter.message(BEN, ids["2"]) is None
    assert await forgetter.message(ANN, ids["1"]) is None


async def test_a_conversation_without_turns_is_gone(
    store: MemoryService, engine: AsyncEngine, forgetter: Forgetter
) -> None:
    """With its last turn goes the application's name for it, which may tell something."""
    ids = (await store.ingest(ANN, "about the aardvark", [NewMessage("1", "Ann", "Hello", DAY)])).ids
    await forgetter.message(ANN, ids["1"])
    assert "aardvark" not in await everything(engine)


async def test_views_of_the_forgotten_leave_other_workers(
    store: MemoryService,
    engine: AsyncEngine,
    forgetter: Forgetter,
    index_cache: IndexCache,
    make_index_cache: Callable[..., IndexCache],
) -> None:
    """Another worker's index returns nothing from then on, and its sweep drops it; new data makes a new index."""
    await fill(store, engine)
    other = make_index_cache()
    for owner in (ANN, BEN):
        assert await other.with_index(owner, lambda index: len(index.people))
    await forgetter.everything(ANN)
    assert other.count(ANN) == 1
    await other.sweep()
    assert (other.count(ANN), other.count(BEN)) == (0, 1)
    await store.ingest(ANN, "again", [NewMessage("1", "Ann", "Back again", DAY)])
    for reader in (index_cache, other):
        assert await reader.with_index(ANN, lambda index: index.people) == ("Ann",)


async def test_writing_while_forgetting_is_all_or_nothing(
    store: MemoryService, engine: AsyncEngine, forgetter: Forgetter
) -> None:
    """Whatever the order, what is left is consistent: what is recalled is what is stored."""
    for number in range(5):
        turns = [NewMessage(f"{number} {each}", "Ann", f"Turn {number} {each}", DAY) for each in range(3)]
        await asyncio.gather(*(store.ingest(ANN, f"c{each}", turns) for each in range(3)), forgetter.everything("one"))
        counts = await erasure.count(engine, ANN)
        assert counts["messages"] == 3 * counts["conversations"]
        assert len(await store.recall(ANN, "turn", limit=50)) == counts["messages"]


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2020, 1, 9), timezones=st.just(UTC))


@given(valid_from=st.none() | MOMENTS, valid_until=st.none() | MOMENTS, instant=MOMENTS)
def test_an_interval_has_its_beginning_and_not_its_end(
    valid_from: datetime | None, valid_until: datetime | None, instant: datetime
) -> None:
    """An interval that may be stored holds exactly from its beginning up to its end; an empty one may not be."""
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        with pytest.raises(memories.EmptyInterval):
            memories.check_interval(valid_from, valid_until)
        return
    memories.check_interval(valid_from, valid_until)
    record = MemoryRecord(
        "x", id="1", changed_in=1, created_at=DAY, updated_at=DAY, valid_from=valid_from, valid_until=valid_until
    )
    smallest = timedelta(microseconds=1)
    if valid_from is not None:
        assert holds_at(record, valid_from)
        assert not holds_at(record, valid_from - smallest)
    if valid_until is not None:
        assert not holds_at(record, valid_until)
        assert holds_at(record, valid_until - smallest)
    assert holds_at(record, instant) == (
        (valid_from or instant) <= instant and (valid_until or instant + smallest) > instant
    )
