"""Memories with tags, of a persona or a conversation, and searches that are limited to some of what there is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.language.folding import containing
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.listing.conversations import (
    MessageFilter,
    NoSuchPage,
    list_conversations,
    list_messages,
)
from storage.memory.listing.counts import read_counts
from storage.memory.listing.within import RecallFilter
from storage.memory.memories import MemoryFilter, NewMemory, Scope, list_memories
from storage.memory.owner import Owner
from storage.memory.people import Profile, write_profile
from tests.memory.conftest import Clock

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def past(store: MemoryService) -> None:
    """Two conversations about tea, and four memories."""
    for name in ("one", "two"):
        turns = [
            NewMessage(f"{number}", speaker, f"{speaker} drinks tea {name} {number}", DAY + timedelta(days=number))
            for number, speaker in enumerate(("Ann", "Bob", "Ann"))
        ]
        ids = (await store.ingest(ANN, name, turns)).ids
    await store.add(
        ANN, NewMemory("Likes Élodie's tea", kind="preference", tags=("drinks", "people")), id_="everywhere"
    )
    await store.add(ANN, NewMemory("Calls tea char", persona="maya", tags=("drinks",)), id_="maya")
    await store.add(ANN, NewMemory("Tea is a code word", conversation="two"), id_="here")
    await store.add(ANN, NewMemory("Tea two", message_id=ids["1"], event_at=DAY), id_="quoting")


async def found(store: MemoryService, scope: Scope | None = None, only: RecallFilter | None = None) -> set[str]:
    """Return what is recalled of tea: ids of memories, and words of turns."""
    recalled = await store.recall(ANN, "tea", limit=50, scope=scope or Scope(), only=only)
    return {
        each.record.id if each.ranked.item.kind == "memory" else each.record.text.removeprefix("Ann drinks tea ")
        for each in recalled
    }


async def test_a_memory_is_recalled_where_it_belongs(store: MemoryService) -> None:
    """Of a persona as that one, of a conversation in that one; others everywhere."""
    for scope, own in ((Scope(), set()), (Scope("maya"), {"maya"}), (Scope("eve", "two"), {"here"})):
        assert {"everywhere", "maya", "here", "quoting"} & await found(store, scope) == {"everywhere", "quoting"} | own
    await store.edit(ANN, "maya", {"persona": None, "pinned": True})
    await store.edit(ANN, "here", {"pinned": True})
    assert "maya" in await found(store)
    for scope, pinned in ((Scope(), {"maya"}), (Scope(None, "two"), {"maya", "here"})):
        assert {each.id for each in (await store.brief(ANN, scope))[1]} == pinned


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (RecallFilter(kinds=["preference"]), {"everywhere"}),
        (RecallFilter(kinds=["fact"], tags=["people"]), set()),
        (RecallFilter(tags=["people", "nothing"]), {"everywhere"}),
        (RecallFilter(kinds=["turn"], conversation="two", until=DAY + timedelta(days=1)), {"two 0"}),
        (RecallFilter(conversation="two", until=DAY + timedelta(days=1)), {"two 0", "quoting"}),
        (RecallFilter(conversation="nowhere"), set()),
    ],
)
async def test_a_search_is_limited(store: MemoryService, only: RecallFilter, expected: set[str]) -> None:
    """To kinds, a conversation, a time, tags; each narrows it."""
    assert await found(store, only=only) == expected


async def test_lists_are_narrowed_alike_on_every_database(store: MemoryService, engine: AsyncEngine) -> None:
    """By tag, by words without case and accents, in pages."""
    folded = MemoryFilter(has_text=containing("ÉLODIÉ"))
    assert [each.id for each in await list_memories(engine, ANN, folded, limit=9)] == ["everywhere"]
    tagged = MemoryFilter(tags=["drinks"])
    first = await list_memories(engine, ANN, tagged, limit=1)
    rest = await list_memories(engine, ANN, tagged, limit=9, after=first[0].id)
    assert [each.id for each in (*first, *rest)] == ["maya", "everywhere"]


async def test_days_begin_where_the_person_is(store: MemoryService, engine: AsyncEngine, clock: Clock) -> None:
    """By the profile's zone, or by that of the question: an hour before midnight in one place is today in another."""
    clock.now = datetime(2026, 1, 5, 12, tzinfo=UTC)
    late = NewMessage("late", "Ann", "Tea late", datetime(2026, 1, 4, 15, 30, tzinfo=UTC))  # in Tokyo it is the 5th
    await store.ingest(ANN, "late", [late])

    async def factor(zone: ZoneInfo | None = None) -> float:
        recalled = await store.recall(ANN, "Which tea did I drink today?", limit=50, zone=zone)
        return next(each.ranked.factors["time"] for each in recalled if each.record.text == "Tea late")

    assert await factor() == 1
    assert await factor(ZoneInfo("Asia/Tokyo")) > 1
    await write_profile(engine, ANN, Profile(None, {"timezone": "Asia/Tokyo"}), now=DAY)
    assert await factor() > 1
    assert await factor(ZoneInfo("UTC")) == 1
    await write_profile(engine, ANN, Profile(None, {"timezone": "Mars/Base"}), now=DAY)
    assert await factor() == 1, "a zone that is none is not known"


async def test_conversations_and_messages_are_listed(engine: AsyncEngine) -> None:
    """With their numbers, last first, page by page."""
    two, one = await list_conversations(engine, ANN, limit=9)
    assert (two.external_id, one.external_id, one.messages) == ("two", "one", 3)
    assert (one.first_said_at, one.last_said_at) == (DAY, DAY + timedelta(days=2))
    assert [each.external_id for each in await list_conversations(engine, ANN, limit=9, after="two")] == ["one"]
    pages: list[str] = []
    after = None
    while page := await list_messages(engine, ANN, MessageFilter(speaker="Ann"), limit=1, after=after):
        after = page[0].message.id
        pages.append(f"{page[0].conversation} {page[0].message.said_at:%d}")
    assert sorted(pages) == ["one 01", "one 03", "two 01", "two 03"]
    assert [each[-2:] for each in pages] == ["03", "03", "01", "01"]
    wanted = MessageFilter("one", since=DAY + timedelta(days=1), has_text=containing("BOB"))
    assert [each.message.external_id for each in await list_messages(engine, ANN, wanted, limit=9)] == ["1"]
    for nothing in (list_conversations(engine, ANN, limit=9, after="x"),):
        with pytest.raises(NoSuchPage):
            await nothing
    with pytest.raises(NoSuchPage):
        await list_messages(engine, Owner("app", "ben"), MessageFilter(), limit=9, after=after or page[0].message.id)


async def test_everything_is_counted(store: MemoryService, engine: AsyncEngine) -> None:
    """By speaker, kind and tag; a former text is none."""
    await store.edit(ANN, "maya", {"text": "Calls tea cha"})
    counts = await read_counts(engine, ANN)
    assert (counts.conversations, counts.messages, counts.memories) == (2, 6, 4)
    assert (counts.speakers, counts.kinds) == ({"Ann": 4, "Bob": 2}, {"preference": 1, "fact": 3})
    assert counts.tags == {"drinks": 2, "people": 1}
    nobody = await read_counts(engine, Owner("app", "nobody"))
    assert (nobody.conversations, nobody.messages, nobody.memories) == (0, 0, 0)
