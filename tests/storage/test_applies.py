"""The record of applies: rows only come, the newest first."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from storage.applies import add_apply, read_applies, read_documents

VERSIONS = [{"model": "m", "fingerprint": "f", "share": 1.0, "since": 1.0, "by": "maya"}]


async def test_changes_are_read_newest_first(engine: AsyncEngine) -> None:
    """Failed ones too; those have no document to go back to."""
    common: dict[str, Any] = {"at": datetime(2026, 11, 28, tzinfo=UTC), "by": "maya", "versions": VERSIONS}
    await add_apply(engine, action="apply", failure=None, document={"applications": [1]}, **common)
    await add_apply(engine, action="apply", failure="check 1 failed", document=None, **common)
    await add_apply(engine, action="rollback", failure=None, document={"applications": [2]}, **common)
    rows = await read_applies(engine)
    assert [(row["action"], row["failure"]) for row in rows] == [
        ("rollback", None),
        ("apply", "check 1 failed"),
        ("apply", None),
    ]
    assert rows[0]["versions"] == VERSIONS
    assert [document for _, document in await read_documents(engine)] == [{"applications": [2]}, {"applications": [1]}]
    assert len(await read_applies(engine, limit=1)) == 1
