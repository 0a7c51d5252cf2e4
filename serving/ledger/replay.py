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

from serving.ledger.write_ahead_log import Record, WriteAheadLog
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
    begun: dict[str, Record] = {}
    batch = _Batch(journal, insert, rejected)
    for number, line in enumerate(journal.lines(start)):
        if number % BATCH_ROWS == 0:
            await asyncio.sleep(0)
        record, is_new = line.record, line.end > journal.settled
        is_begin = record is not None and "outcome" not in record
        row, reason = _row_or_reason(record if record is None or not is_begin else record | LOST)
        if record is None or row is None:
            if is_new:
                batch.rejects.append((line.raw, reason))
        elif is_begin:
            begun[row["id"]] = record
        else:
            begun.pop(row["id"], None)
            if is_new:
                batch.rows.append(row)
        await batch.read(line.end)
    await batch.store()
    return begun


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
    """Rows to insert and lines to set aside, up to an offset."""

    def __init__(self, journal: WriteAheadLog, insert: Insert, rejected: Rejected) -> None:
        self.rows: list[Row] = []
        self.rejects: list[tuple[bytes, str]] = []
        self._journal = journal
        self._insert = insert
        self._rejected = rejected
        self._end = journal.settled

    async def read(self, end: int) -> None:
        """Note that everything before `end` was read; stores a full batch."""
        self._end = max(self._end, end)
        if len(self.rows) + len(self.rejects) >= BATCH_ROWS:
            await self.store()

    async def store(self) -> None:
        """Insert, then set aside, then settle: in this order, so that a failure only repeats idempotent steps."""
        if self.rows:
            refused = await self._insert(self.rows)
            self.rejects += [(orjson.dumps(row, default=str), reason) for row, reason in refused]
        if self.rejects:
            self._rejected.keep(self._journal.path, self.rejects)
        self._journal.settle(self._end)
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


def row_of(record: Record) -> Row:
    """The row of an ended request; raises one of _NOT_A_ROW if the record cannot become a row.

    Values that SQL would refuse or convert are refused here, so that it does not depend on the driver.
    """
    started_at = datetime.fromtimestamp(record["started_at"], UTC)
    known = record | {"started_at": started_at, "day": started_at.date()}
    row = {name: known.get(name) for name in COLUMNS}  # the journal may be from another version
    for name, value in row.items():
        if value is None and name in NULLABLE:
            continue
        if name in INTEGERS and (type(value) is not int or not 0 <= value <= MAX_INTEGER):
            raise ValueError(f"{name}: {value!r:.100} is not a whole number from 0 to {MAX_INTEGER}")
        if name in FLOATS and (not isinstance(value, int | float) or not 0 <= value <= MAX_INTEGER):
            raise ValueError(f"{name}: {value!r:.100} is not a number of seconds")
        if name in TEXTS and not isinstance(value, str):
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
