"""A person's past, through the store: what goes in is found, each time once, and nobody finds another's."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.language.folding import containing
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService, Recalled
from storage.memory import memories, people
from storage.memory.conversations import NewMessage
from storage.memory.memories import MemoryFilter, NewMemory
from storage.memory.owner import Owner
from tests.support.memory.records import Progress, read_progress
from tests.support.memory.word_embedder import WordEmbedder

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def spoken(number: int, text: str, *, speaker: str = "Ann") -> NewMessage:
    """Return the turn of this minute."""
    return NewMessage(f"m{number}", speaker, text, DAY + timedelta(minutes=number))


def texts(found: list[Recalled]) -> list[str]:
    """Return what was found."""
    return [each.record.text for each in found]


async def test_turns_and_memories_are_found(store: MemoryService) -> None:
    """The best of both kinds comes first, with what each ranker said, and only the owner's."""
    await store.ingest(ANN, "c1", [spoken(1, "I adopted a dog called Rex"), spoken(2, "We went to the beach")])
    await store.add(ANN, NewMemory("Ann is afraid of spiders", kind="feeling"))
    await store.ingest(BEN, "c1", [spoken(1, "I adopted a dog called Max", speaker="Ben")])
    (first, *_) = await store.recall(ANN, "Which dog was adopted?", limit=5)
    assert first.record.text == "I adopted a dog called Rex"
    assert set(first.ranked.by_ranker) == {"single", "window", "lexical"}
    assert first.ranked.by_ranker["lexical"].rank == 1
    (first, *_) = await store.recall(ANN, "What about spiders?", limit=5)
    assert first.record.text == "Ann is afraid of spiders"
    for owner in (BEN, Owner("other", "ann")):
        assert "I adopted a dog called Rex" not in texts(await store.recall(owner, "Rex the dog", limit=50))


async def test_ingesting_twice_is_once(store: MemoryService, engine: AsyncEngine) -> None:
    """Known external ids add nothing, are told apart from new ones, and other words under a known id change nothing."""
    first = await store.ingest(ANN, "c1", [spoken(1, "One"), spoken(2, "Two")])
    again = await store.ingest(ANN, "c1", [spoken(1, "One"), spoken(2, "Other words"), spoken(3, "Three")])
    assert (first.added, again.added) == ({"m1", "m2"}, {"m3"})
    assert again.differing == ("m2",)
    assert {name: again.ids[name] for name in first.ids} == first.ids
    assert sorted(texts(await store.recall(ANN, "One Two Three", limit=9))) == ["One", "Three", "Two"]
    elsewhere = await store.ingest(ANN, "c2", [spoken(1, "One in another conversation")])
    assert elsewhere.added == {"m1"}
    assert await read_progress(engine, ANN, WordEmbedder().space) == Progress(4, 4)


async def test_windows_follow_their_neighbours(store: MemoryService, embedder: WordEmbedder) -> None:
    """A new turn renews the windows beside it and no other, at the end as in the middle."""
    await store.ingest(ANN, "c1", [spoken(1, "one"), spoken(2, "two"), spoken(9, "nine")])
    embedder.texts.clear()
    await store.ingest(ANN, "c1", [spoken(10, "ten")])
    assert set(embedder.texts) == {"ten", "Ann: two\nAnn: nine\nAnn: ten", "Ann: nine\nAnn: ten"}
    embedder.texts.clear()
    await store.ingest(ANN, "c1", [spoken(5, "five")])
    assert set(embedder.texts) >= {"five", "Ann: one\nAnn: two\nAnn: five", "Ann: two\nAnn: five\nAnn: nine"}
    assert "Ann: nine\nAnn: ten" not in embedder.texts


async def test_every_worker_sees_a_write_at_its_next_read(
    store: MemoryService, engine: AsyncEngine, embedder: WordEmbedder, make_index_cache: Callable[..., IndexCache]
) -> None:
    """Additions, edits and deletions of one worker are what another, which had read before, finds."""
    other = MemoryService(engine, make_index_cache(), embedder, lambda: DAY + timedelta(days=365))
    record, _ = await store.add(ANN, NewMemory("Likes green tea"))
    assert texts(await other.recall(ANN, "tea", limit=5)) == ["Likes green tea"]
    await store.edit(ANN, record.id, {"text": "Likes black coffee"})
    assert texts(await other.recall(ANN, "coffee", limit=5)) == ["Likes black coffee"]
    await store.ingest(ANN, "c1", [spoken(1, "Coffee at noon")])
    assert sorted(texts(await other.recall(ANN, "coffee", limit=5))) == ["Coffee at noon", "Likes black coffee"]
    await memories.delete_memory(engine, ANN, record.id, now=DAY)
    assert texts(await other.recall(ANN, "coffee", limit=5)) == ["Coffee at noon"]


async def test_an_embedder_that_is_away_loses_nothing(store: MemoryService, embedder: WordEmbedder) -> None:
    """What is said meanwhile is stored and found by its words, and by its vectors when the embedder is back."""
    embedder.is_away = True
    await store.ingest(ANN, "c1", [spoken(1, "My sister lives in Oslo")])
    await store.add(ANN, NewMemory("Her sister is a nurse"))
    found = await store.recall(ANN, "sister", limit=5)
    assert len(found) == 2
    assert all(set(each.ranked.by_ranker) == {"lexical"} for each in found)
    embedder.is_away = False
    found = await store.recall(ANN, "sister", limit=5)
    assert all(set(each.ranked.by_ranker) == {"single", "window", "lexical"} for each in found)


async def test_another_model_replaces_vectors_while_the_old_ones_work(
    store: MemoryService,
    engine: AsyncEngine,
    clock: Callable[[], datetime],
    make_index_cache: Callable[..., IndexCache],
) -> None:
    """A new revision starts at nothing and fills up by reading; the old one's vectors stay whole."""
    await store.ingest(ANN, "c1", [spoken(number, f"Number {number}") for number in range(100)])
    newer = WordEmbedder("2")
    index_cache = IndexCache(engine, newer.space, dimensions=newer.dimensions, max_bytes=2**30)
    moved = MemoryService(engine, index_cache, newer, clock)
    assert await read_progress(engine, ANN, newer.space) == Progress(0, 100)
    for done in (64, 100):
        assert await moved.recall(ANN, "Number 7", limit=1)
        assert await read_progress(engine, ANN, newer.space) == Progress(done, 100)
        assert await read_progress(engine, ANN, WordEmbedder().space) == Progress(100, 100)
    index_cache.close()


async def test_a_quote_is_verbatim(store: MemoryService) -> None:
    """What a message does not say is no quote of it; who said it is who the memory is of."""
    ingested = await store.ingest(ANN, "c1", [spoken(1, "I moved to Oslo in May.")])
    source = ingested.ids["m1"]
    record, _ = await store.add(ANN, NewMemory("Lives in Oslo", quote="moved to Oslo", message_id=source))
    assert record.speaker == "Ann"
    for wrong in (NewMemory("x", quote="moved to Rome", message_id=source), NewMemory("x", quote="no message")):
        with pytest.raises(memories.NotVerbatim):
            await store.add(ANN, wrong)
    with pytest.raises(memories.NoSuchMessage):
        await store.add(BEN, NewMemory("x", quote="moved to Oslo", message_id=source))
    with pytest.raises(memories.NotVerbatim):
        await store.edit(ANN, record.id, {"quote": "moved to Rome"})
    assert texts(await store.recall(BEN, "Oslo", limit=5)) == []


async def test_what_took_its_place_ends_a_memory(store: MemoryService, engine: AsyncEngine) -> None:
    """The old one holds until the new one begins; recall tells what holds now, or at the time that is asked about."""
    began, moved = datetime(2020, 1, 1, tzinfo=UTC), datetime(2023, 6, 1, tzinfo=UTC)
    old, _ = await store.add(ANN, NewMemory("Lives in Berlin", valid_from=began))
    new, _ = await store.add(ANN, NewMemory("Lives in Paris", valid_from=moved), supersedes=old.id)
    found = await memories.find_memories(engine, ANN, [old.id])
    assert (found[old.id].superseded_by, found[old.id].valid_until) == (new.id, moved)
    assert texts(await store.recall(ANN, "Where does she live, lives she where?", limit=5)) == ["Lives in Paris"]
    assert texts(await store.recall(ANN, "Where was she living, who lives, in 2021?", limit=5)) == ["Lives in Berlin"]
    for question in ("She lives where? Where before?", "Wo hat sie früher gewohnt? Lives", "আগে lives"):
        assert set(texts(await store.recall(ANN, question, limit=5))) == {"Lives in Paris", "Lives in Berlin"}
    assert texts(await store.recall(ANN, "Before Monday, where does she live? Lives", limit=5)) == ["Lives in Paris"]
    with pytest.raises(memories.EmptyInterval):
        await store.add(ANN, NewMemory("Lives in Rome", valid_from=began), supersedes=old.id)
    with pytest.raises(memories.NoSuchMemory):
        await store.add(BEN, NewMemory("Lives in Rome"), supersedes=old.id)


async def test_lists_are_in_pages_without_gaps(store: MemoryService, engine: AsyncEngine) -> None:
    """Newest first; page after page is all of them once, whatever is added meanwhile; filters narrow."""
    for number in range(7):
        kind = "goal" if number % 2 else "fact"
        await store.add(ANN, NewMemory(f"Number {number} 100%", kind=kind, event_at=DAY + timedelta(days=number)))
    await store.add(BEN, NewMemory("Number of Ben"))
    seen: list[str] = []
    after = None
    while page := await memories.list_memories(engine, ANN, MemoryFilter(), limit=3, after=after):
        seen += [each.text for each in page]
        after = page[-1].id
        await store.add(ANN, NewMemory("Later"))
    assert seen == [f"Number {number} 100%" for number in reversed(range(7))]

    async def listed(filters: MemoryFilter) -> list[str]:
        return [each.text[7] for each in await memories.list_memories(engine, ANN, filters, limit=50)]

    assert await listed(MemoryFilter(kinds=["goal"])) == ["5", "3", "1"]
    assert await listed(MemoryFilter(has_text=containing("NUMBER 5 100%"))) == ["5"]
    assert await listed(MemoryFilter(has_text=containing("Number 5_100"))) == []
    bounded = MemoryFilter(since=DAY + timedelta(days=2), until=DAY + timedelta(days=4))
    assert await listed(bounded) == ["3", "2"]
    with pytest.raises(memories.NoSuchMemory):
        await memories.list_memories(engine, BEN, MemoryFilter(), limit=3, after=after)


async def test_the_same_id_is_the_same_memory(store: MemoryService, engine: AsyncEngine) -> None:
    """A repeated request with an id adds nothing, for each owner apart."""
    made = [await store.add(owner, NewMemory(f"Of {owner.user}"), id_="mine") for owner in (ANN, BEN, ANN)]
    assert [is_new for _, is_new in made] == [True, True, False]
    assert made[0][0] == made[2][0]
    assert made[1][0].text == "Of ben"
    assert len(await memories.list_memories(engine, ANN, MemoryFilter(), limit=9)) == 1


async def test_fifty_writers_and_readers_of_one_person(store: MemoryService, engine: AsyncEngine) -> None:
    """Every write is there once at the end, counts are counted on, and what is recalled meanwhile is no duplicate."""
    await store.add(ANN, NewMemory("0"), id_="counter")

    async def write(number: int) -> None:
        await store.ingest(ANN, "c", [spoken(number // 2, f"said {number // 2}")])  # two writers say the same
        await store.add(ANN, NewMemory(f"thing {number}"))
        while number < 10:
            seen = (await memories.find_memories(engine, ANN, ["counter"]))["counter"]
            try:
                await store.edit(ANN, "counter", {"text": str(int(seen.text) + 1)}, changed_in=seen.changed_in)
                return
            except memories.ChangedMeanwhile:
                continue

    async def read() -> None:
        found = texts(await store.recall(ANN, "what thing was said?", limit=200))
        assert len(found) == len(set(found))

    await asyncio.gather(*(each for number in range(25) for each in (write(number), read())))
    found = texts(await store.recall(ANN, "what thing was said?", limit=200))
    assert sorted(found) == sorted([*(f"said {n}" for n in range(13)), *(f"thing {n}" for n in range(25)), "10"])


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_postgres_keeps_no_statement_of_ours(engine: AsyncEngine, store: MemoryService) -> None:
    """Behind PgBouncer in transaction mode a prepared statement would be another client's: none outlives its use."""
    for number in range(5):
        await store.add(ANN, NewMemory(f"Number {number}"))
    async with engine.connect() as connection:
        left = await connection.execute(text("select name from pg_prepared_statements"))
        assert len(left.all()) <= 2  # this one, and the last, which goes with the next


async def test_a_profile_names_the_speaker(store: MemoryService, engine: AsyncEngine) -> None:
    """A question in the first person is put to what its asker said, when the profile says who that is."""
    await store.ingest(ANN, "c", [spoken(1, "I love hiking"), spoken(2, "I love sailing", speaker="Bob")])
    await people.write_profile(engine, ANN, people.Profile("Bob", {"odd": "a\0b"}), now=DAY)
    assert (await people.read_profile(engine, ANN)).details == {"odd": "a\0b"}
    (first, *_) = await store.recall(ANN, "What do I love?", limit=2)
    assert first.record.text == "I love sailing"
    await store.ingest(ANN, "d", [spoken(3, "I love chess", speaker="user")])
    found = {
        each.record.text: each.ranked.factors["person"] for each in await store.recall(ANN, "What do I love?", limit=3)
    }
    assert found["I love chess"] == found["I love sailing"] == 1.0, "what was said before the profile had a name"
    assert found["I love hiking"] < 1
    assert await people.read_profile(engine, BEN) == people.Profile(None, {})
