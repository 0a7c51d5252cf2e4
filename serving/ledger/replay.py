"""Moves a journal to SQL: every ended request becomes a row; open requests of a dead worker become `lost`.

Each row is inserted at least once, and inserts skip existing rows, so each row exists exactly once. Damaged lines, and
rows that the database never accepts, are set aside in a file beside the journal, logged and counted; the others go on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from serving.ledger.write_ahead_log import Line, Record, WriteAheadLog
from storage.requests import COLUMNS, FLOATS, INTEGERS, MAX_INTEGER, MAX_REASON_CHARS, NULLABLE, TEXTS, Row

log = logging.getLogger(__name__)

BATCH_ROWS = 50  # per transaction, and lines read at once: about 3 ms of blocking the event loop

_NOT_A_ROW = (KeyError, TypeError, ValueError, OverflowError, OSError)  # OSError: a date that the platform lacks

Insert = Callable[[list[Row]], Awaitable[list[tuple[Row, str]]]]
OnLost = Callable[[str, str, int], Awaitable[None]]


class Rejected:
    """Sets lines aside that cannot become rows: writes them to a file beside the journal and calls `count`."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def keep(self, journal: Path, lines: list[tuple[bytes, str]]) -> None:
        """Set lines of `journal` aside, each with a reason; raises OSError."""
        aside = journal.with_suffix(".rejected")
        aside.touch(0o600)
        with aside.open("ab") as file:
            for raw, reason in lines:
                file.write(raw if raw.endswith(b"\n") else raw + b"\n")
                log.error("a line of %s cannot become a row (%s): moved to %s", journal.name, reason, aside.name)
        self._count(len(lines))


async def replay(journal: WriteAheadLog, insert: Insert, start: int, rejected: Rejected) -> dict[str, Record]:
    """Insert ended requests from offset `start` that are not settled yet, and mark them as settled.

    Returns the requests that began after `start` and did not end, by id. If `insert` raises, the rest stays in the
    journal.
    """
    begun: dict[str, tuple[Record, Line]] = {}
    settled = journal.settled
    batch = _Batch(journal, insert, rejected)
    for number, line in enumerate(journal.lines(start)):
        if number % BATCH_ROWS == 0:
            await asyncio.sleep(0)
        record = line.record
        if record is not None and "outcome" not in record and isinstance(record.get("id"), str):
            begun[record["id"]] = record, line  # most end soon, so they are checked below
        else:
            row, reason = _row_or_reason(record)
            if row is not None:
                begun.pop(row["id"], None)
            if line.end > journal.settled:
                batch.add(line, row, reason)
        batch.end = max(batch.end, line.end)
        if batch.is_full:
            await batch.store()
    still_open: dict[str, Record] = {}
    for id_, (record, line) in begun.items():
        row, reason = _row_or_reason(record | LOST)
        if row is not None:
            still_open[id_] = record
        elif line.end > settled:
            batch.add(line, None, reason)
    await batch.store()
    return still_open


async def adopt(path: Path, insert: Insert, on_lost: OnLost, rejected: Rejected) -> int | None:
    """Settle a dead worker's journal and delete it; None if its owner is alive or another worker adopts it.

    Returns the number of lost requests. `on_lost(app, id, tokens_reserved)` is called for each before its row is made;
    it must be idempotent, because it is called again if this worker dies too.
    """
    journal = WriteAheadLog.claim(path)
    if journal is None:
        return None
    try:
        lost = await replay(journal, insert, 0, rejected)
        for record in lost.values():
            await on_lost(record["app"], record["id"], record["tokens_reserved"])
        records = list(lost.values())
        for first in range(0, len(records), BATCH_ROWS):
            batch = _Batch(journal, insert, rejected)
            batch.rows = [row_of(record | LOST) for record in records[first : first + BATCH_ROWS]]
            await batch.store()
        journal.remove()
    finally:
        journal.close()
    return len(lost)


class _Batch:
    """Rows to insert and lines to set aside, up to the offset `end`."""

    def __init__(self, journal: WriteAheadLog, insert: Insert, rejected: Rejected) -> None:
        self.rows: list[Row] = []
        self.rejects: list[tuple[bytes, str]] = []
        self._journal = journal
        self._insert = insert
        self._rejected = rejected
        self.end = journal.settled

    @property
    def is_full(self) -> bool:
        """Whether it is time to store it."""
        return len(self.rows) + len(self.rejects) >= BATCH_ROWS

    def add(self, line: Line, row: Row | None, reason: str) -> None:
        """Add the row of a line, or the line if it has none."""
        if row is None:
            self.rejects.append((line.raw, reason))
        else:
            self.rows.append(row)

    async def store(self) -> None:
        """Insert, then set aside, then settle: in this order, so that a failure only repeats idempotent steps."""
        if self.rows:
            refused = await self._insert(self.rows)
            self.rejects += [(orjson.dumps(row, default=str), reason) for row, reason in refused]
        if self.rejects:
            self._rejected.keep(self._journal.path, self.rejects)
        self._journal.settle(self.end)
        self.rows, self.rejects = [], []


LOST: Record = {
    "segments": [],
    "model": None,
    "prompt_tokens": 0,
    "cached_tokens": 0,
    "completion_tokens": 0,
    "cache": None,
    "outcome": "lost",
    "status": None,
    "error_code": "worker_lost",
    "latency_s": None,
    "ttft_s": None,
    "cost_microusd": 0,
}


def _kind(name: str) -> type | None:
    return int if name in INTEGERS else float if name in FLOATS else str if name in TEXTS else None


_CHECKS = tuple((name, _kind(name), name in NULLABLE) for name in COLUMNS)


def row_of(record: Record) -> Row:
    """The row of an ended request; raises one of _NOT_A_ROW if the record cannot become a row.

    Values that SQL would refuse or convert are refused here, so that it does not depend on the driver.
    """
    started_at = datetime.fromtimestamp(record["started_at"], UTC)
    known = record | {"started_at": started_at, "day": started_at.date()}
    row = {}
    for name, kind, is_nullable in _CHECKS:
        value = row[name] = known.get(name)  # the journal may be from another version
        if value is None and is_nullable:
            continue
        if kind is int:
            if type(value) is not int or not 0 <= value <= MAX_INTEGER:
                raise ValueError(f"{name}: {value!r:.100} is not a whole number from 0 to {MAX_INTEGER}")
        elif kind is float:
            if not isinstance(value, int | float) or not 0 <= value <= MAX_INTEGER:
                raise ValueError(f"{name}: {value!r:.100} is not a number of seconds")
        elif kind is str and not isinstance(value, str):
            raise TypeError(f"{name}: {value!r:.100} is not text")
    return row


def _row_or_reason(record: Record | None) -> tuple[Row | None, str]:
    """The row, or the reason why there is none."""
    if record is None:
        return None, "wrong checksum, or not a JSON object"
    try:
        return row_of(record), ""
    except _NOT_A_ROW as problem:
        return None, repr(problem)[:MAX_REASON_CHARS]
