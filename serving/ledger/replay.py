"""From a journal to SQL: every request that ended becomes a row, those that a dead worker left open become `lost`.

Done at least once, with inserts that skip what is there, so in the end exactly once. A damaged line, and a row that the
database will never take, are set aside in a file beside the journal, reported and counted: they stop nobody.
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

BATCH_ROWS = 50  # in one transaction, and lines read at once: some 3 ms in which the event loop does nothing else

_NOT_A_ROW = (KeyError, TypeError, ValueError, OverflowError, OSError)  # OSError: a date that the platform has not

Insert = Callable[[list[Row]], Awaitable[list[tuple[Row, str]]]]
OnLost = Callable[[str, str, int], Awaitable[None]]


class Rejected:
    """The lines that cannot become rows: each goes to a file beside its journal, and `count` is told how many."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def keep(self, journal: Path, lines: list[tuple[bytes, str]]) -> None:
        """Keep lines of `journal`, each with the reason; raises OSError."""
        aside = journal.with_suffix(".rejected")
        aside.touch(0o600)
        with aside.open("ab") as file:
            for raw, reason in lines:
                file.write(raw if raw.endswith(b"\n") else raw + b"\n")
                log.error("a line of %s cannot become a row (%s): kept in %s", journal.name, reason, aside.name)
        self._count(len(lines))


async def replay(journal: WriteAheadLog, insert: Insert, start: int, rejected: Rejected) -> dict[str, Record]:
    """Insert the ends from offset `start` that are not settled yet, and mark them so.

    Returns the requests that began after `start` and did not end, by id. Raises what `insert` raises; then the rest
    waits in the journal.
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
    """Settle a dead worker's journal and delete it; None when its owner lives or another adopts it.

    Returns how many requests were lost with it. `on_lost(app, id, tokens_reserved)` is called for each before its row
    is made; should this worker die too, the next calls it again, so it must bear that.
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
    """Rows on their way to SQL, and lines on their way aside, up to offset `end`."""

    def __init__(self, journal: WriteAheadLog, insert: Insert, rejected: Rejected) -> None:
        self.rows: list[Row] = []
        self.rejects: list[tuple[bytes, str]] = []
        self._journal = journal
        self._insert = insert
        self._rejected = rejected
        self._end = journal.settled

    async def read(self, end: int) -> None:
        """Everything before `end` has been read."""
        self._end = max(self._end, end)
        if len(self.rows) + len(self.rejects) >= BATCH_ROWS:
            await self.store()

    async def store(self) -> None:
        """Insert, then set aside, then settle: in this order, so that a failure repeats what may be repeated."""
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
    """The row of an ended request; raises one of _NOT_A_ROW when the record cannot be one.

    What SQL would refuse, or store as something else, is refused here: no driver is asked what it makes of it.
    """
    started_at = datetime.fromtimestamp(record["started_at"], UTC)
    known = record | {"started_at": started_at, "day": started_at.date()}
    row = {name: known.get(name) for name in COLUMNS}  # a journal may be of another version
    for name, value in row.items():
        if value is None and name in NULLABLE:
            continue
        if name in INTEGERS and (type(value) is not int or not 0 <= value <= MAX_INTEGER):
            raise ValueError(f"{name}: {value!r:.100} is no whole number from 0 to {MAX_INTEGER}")
        if name in FLOATS and (not isinstance(value, int | float) or not 0 <= value <= MAX_INTEGER):
            raise ValueError(f"{name}: {value!r:.100} is no number of seconds")
        if name in TEXTS and not isinstance(value, str):
            raise TypeError(f"{name}: {value!r:.100} is no text")
    return row


def _row_or_reason(record: Record | None) -> tuple[Row | None, str]:
    """The row, or why there is none."""
    if record is None:
        return None, "its checksum is wrong, or it is no record"
    try:
        return row_of(record), ""
    except _NOT_A_ROW as problem:
        return None, repr(problem)[:MAX_REASON_CHARS]
