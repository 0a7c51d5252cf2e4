"""The conditions after any fault: one ledger row per request, and limits charged as in the rows.

Each fault gets its own application, so that its rows contain nothing else.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from serving.limits.redis_store import LimitStore
from serving.resilience.redis import GuardedRedis, open_redis
from storage.database import open_engine
from storage.tables import Request
from tests.support.faults.matrix import Matrix, summary_of
from tests.support.faults.seen import Seen
from tests.support.local_stack import LocalStack
from tests.support.polling import eventually

FREE_WITHIN_S = 30.0
SETTLED_WITHIN_S = 120.0  # a dead worker's journal is adopted after some seconds, and its reservations expire
Row = dict[str, Any]


@dataclass(frozen=True)
class App:
    """The application of one fault: its keys (the second may use external models), and its rows."""

    name: str
    key: str
    outgoing_key: str
    url: str
    database_url: str
    redis_url: str

    def ledger(self, seen: Sequence[Seen]) -> tuple[str, list[Row]]:
        """Wait for the row of every request; returns the table's cell and the rows. Fails on a second row."""
        expected = Counter(each.request_id for each in seen)
        rows = eventually(
            lambda: self._rows_of(expected), SETTLED_WITHIN_S, f"a row for each of {len(seen)} requests of {self.name}"
        )
        assert Counter(row["request_id"] for row in rows) == expected, "a request has two rows"
        outcomes = Counter(row["outcome"] for row in rows)
        outcomes_text = ", ".join(f"{number} `{outcome}`" for outcome, number in sorted(outcomes.items()))
        return f"{len(rows)} of {len(seen)}: {outcomes_text}", rows

    def limits(self, rows: Sequence[Row]) -> str:
        """Wait until the limits have kept what was used, and hold nothing else; the table's cell."""
        expected = sum(charged(row) for row in rows)
        totals: dict[str, int] = {}

        def look() -> bool:
            totals.update(asyncio.run(self._totals()))
            return totals["open_requests"] == 0 and totals["settled_tokens"] == expected

        try:
            eventually(look, SETTLED_WITHIN_S, "the limits to have kept what was used")
        except AssertionError as failure:
            raise AssertionError(f"{failure}: {expected} tokens of {outcomes_of(rows)}, but {totals}") from None
        reserved, settled, refunded = (totals[f"{what}_tokens"] for what in ("reserved", "settled", "refunded"))
        assert reserved == settled + refunded, totals
        return f"{reserved} reserved = {settled} used + {refunded} given back"

    def conclude(self, matrix: Matrix, fault: str, seen: Sequence[Seen], engine: str) -> list[Row]:
        """Check the books and write the fault's line; returns the rows.

        Args:
            matrix: the table.
            fault: its name there.
            seen: all requests of the application.
            engine: what the engine did.

        """
        ledger, rows = self.ledger([each for each in seen if not each.was_refused])
        matrix.add(fault, client=summary_of(seen), ledger=ledger, limits=self.limits(rows), engine=engine)
        return rows

    def _rows_of(self, expected: Counter[str]) -> list[Row]:
        rows = [row for row in asyncio.run(self._rows()) if row["request_id"] in expected]
        return rows if {row["request_id"] for row in rows} == set(expected) else []

    async def _rows(self) -> list[Row]:
        engine = open_engine(self.database_url)
        try:
            async with engine.connect() as connection:
                table = Request.__table__
                found = await connection.execute(select(table).where(table.c.app == self.name))
                return [dict(row._mapping) for row in found]
        finally:
            await engine.dispose()

    async def _totals(self) -> dict[str, int]:
        redis = open_redis(self.redis_url)
        try:
            return await LimitStore(GuardedRedis(redis, timeout_s=5.0), window_s=60, hold_s=60).totals(self.name)
        finally:
            await redis.aclose()


def outcomes_of(rows: Sequence[Row]) -> str:
    """Rows in short, like ones counted."""
    names = ("outcome", "status", "error_code", "prompt_tokens", "completion_tokens", "tokens_reserved")
    return str(Counter(tuple(row[name] for name in names) for row in rows))


def charged(row: Row) -> int:
    """The tokens that the limits should have kept for a request."""
    used: int = row["prompt_tokens"] + row["completion_tokens"]
    if row["outcome"] == "aborted" and not used:
        used = row["tokens_reserved"]  # left before the engine told anything
    return used


def engine_after(stack: LocalStack) -> str:
    """Wait until the service is ready and the engine has nothing left to do."""
    stack.until_ready()
    eventually(lambda: stack.unfinished() == 0, FREE_WITHIN_S, "the engine to be free")
    (replica,) = (each for each in stack.replicas() if each["state"] == "ready")
    return f"ready, start {replica['epoch']}, nothing left in it"
