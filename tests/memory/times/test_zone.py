"""When a person's day begins: where the request says, else their profile, else the offset of their turns."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from memory.schemas import Message
from memory.service import MemoryService
from storage.memory.conversations import NewMessage
from storage.memory.owner import Owner
from storage.memory.people import Profile, write_profile
from tests.memory.conftest import BEGINNING  # noon in UTC

ANN = Owner("app", "ann")
AUCKLAND = timezone(timedelta(hours=13))
EARLY = datetime(2026, 2, 28, 5, 0, tzinfo=UTC)  # yesterday in UTC; in Auckland it is the day before, at six


async def is_yesterday(store: MemoryService, zone: str | None = None) -> bool:
    """Whether recall takes EARLY for yesterday."""
    question = "Which parrot did I see yesterday?"
    found = await store.recall(ANN, question, limit=5, zone=None if zone is None else ZoneInfo(zone))
    (first,) = [each for each in found if each.record.text == "I saw a parrot"]
    return first.ranked.factors["time"] > 1


async def say(store: MemoryService, number: int, at: datetime) -> None:
    """Say that there was a parrot, then."""
    text = "I saw a parrot" if at == EARLY else f"Number {number}"
    await store.ingest(ANN, "c", [NewMessage(f"m{number}", "user", text, at)])


async def test_the_offset_of_the_turns_is_the_last_that_counts(store: MemoryService, engine: AsyncEngine) -> None:
    """UTC says nothing; the profile goes before the turns, the request before both."""
    await say(store, 1, EARLY)
    assert await is_yesterday(store)
    await say(store, 2, BEGINNING.astimezone(AUCKLAND))
    assert not await is_yesterday(store)
    await say(store, 3, BEGINNING + timedelta(minutes=1))
    assert not await is_yesterday(store), "UTC changes nothing"
    assert await is_yesterday(store, "Europe/London")
    await write_profile(engine, ANN, Profile(None, {"timezone": "Europe/London"}), now=BEGINNING)
    assert await is_yesterday(store)
    assert not await is_yesterday(store, "Pacific/Auckland")


def test_a_turn_keeps_the_offset_that_it_came_with() -> None:
    """As the application wrote it."""
    sent = Message(external_id="1", speaker="Ann", text="Hi", said_at="2026-03-02T01:00:00+13:00")  # type: ignore[arg-type]
    assert (sent.said_at, sent.said_at.utcoffset()) == (BEGINNING, timedelta(hours=13))
