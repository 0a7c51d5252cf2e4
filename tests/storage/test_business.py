"""The figures of usage count what people did, each once."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.business import BusinessFigures, read_figures
from storage.memory.conversations import NewMessage, ingest
from storage.memory.memories import NewMemory, add_memory
from storage.memory.owner import Owner
from storage.tables import Request

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def request(number: int, user: str | None, at: datetime) -> dict[str, Any]:
    """A row of the ledger."""
    counts = ("tokens_reserved", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_microusd")
    return {
        "id": str(number),
        "request_id": str(number),
        "app": "app",
        "end_user": user,
        "key_id": "key",
        "class": "interactive",
        "endpoint": "/v1/chat/completions",
        "segments": [],
        "outcome": "ok",
        **dict.fromkeys(counts, 0),
        "started_at": at,
        "day": at.date(),
    }


async def test_each_figure_counts_its_own(engine: AsyncEngine) -> None:
    """Of the last day, except memories, which are all that there are; nameless requests have no person."""
    assert await read_figures(engine, now=NOW) == BusinessFigures(0, 0, 0, 0, 0, None)
    rows = [request(1, "ann", NOW), request(2, "ann", NOW), request(3, "ben", NOW), request(4, None, NOW)]
    rows += [request(5, "ann", NOW - 10 * DAY), request(6, "cleo", NOW - 10 * DAY)]
    ann = Owner("app", "ann")
    turns = [NewMessage(str(n), "user", "I like tea", NOW - n * DAY) for n in range(3)]
    await ingest(engine, ann, "c", turns, now=NOW)
    await add_memory(engine, ann, NewMemory("Likes tea"), now=NOW)
    async with engine.begin() as connection:
        await connection.execute(insert(Request.__table__), rows)
    figures = await read_figures(engine, now=NOW)
    assert figures == BusinessFigures(conversations=1, people=2, requests=3, turns=2, memories=1, returned_ratio=0.5)
    assert figures.requests_per_person == 1.5
