"""From a journal to SQL: every request that ended becomes a row, those that a dead worker left open become `lost`.

Done at least once, with inserts that skip what is there, so in the end exactly once. A damaged line, and a row that the
database will never take, are set aside in a file beside the journal and reported: they stop nobody.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from serving.journal import Journal, Record
from storage.ledger import COLUMNS, Row

log = logging.getLogger(__name__)

BATCH_ROWS = 50  # in one transaction, and lines read at once: some 3 ms in which the event loop does nothing else

Insert = Callable[[list[Row]], Awaitable[list[tuple[Row, str]]]]
OnLost = Callable[[str, str, int], Awaitable[None]]


async def replay(journal: Journal, insert: Insert, start: int) -> dict[str, Record]:
    """Insert the ends from offset `start` that are not settled yet, and mark them so.

    Returns the requests that began after `start` and did not end, by id. Raises what `insert` raises; then the rest
    waits in the journal.
    """
    begun: dict[str, Record] = {}
    rows: list[Row] = []
    end = start
    for number, line in enumerate(journal.lines(start)):
        if number % BATCH_ROWS == 0:
            await asyncio.sleep(0)
        end = line.end
        record = line.record
        if record is None:
            _set_aside(journal.path, line.raw, "its checksum is wrong")
        elif "outcome" not in record:
            begun[record["id"]] = record
        else:
            begun.pop(record["id"], None)
            if line.end > journal.settled:
                rows += _rows(journal.path, line.raw, record)
        if len(rows) == BATCH_ROWS:
            await _store(journal, insert, rows, end)
            rows = []
    if end > journal.settled:
        await _store(journal, insert, rows, end)
    return begun


async def adopt(path: Path, insert: Insert, on_lost: OnLost) -> int | None:
    """Settle a dead worker's journal and delete it; None when its owner lives or another adopts it.

    Returns how many requests were lost with it. `on_lost(app, id, tokens_reserved)` is called for each before its row
    is made; should this worker die too, the next calls it again, so it must bear that.
    """
    journal = Journal.claim(path)
    if journal is None:
        return None
    try:
        lost = await replay(journal, insert, 0)
        for record in lost.values():
            await on_lost(record["app"], record["id"], record.get("tokens_reserved", 0))
        records = list(lost.values())
        for first in range(0, len(records), BATCH_ROWS):
            rows = [row_of(record | LOST) for record in records[first : first + BATCH_ROWS]]
            await _store(journal, insert, rows, journal.settled)
        journal.remove()
    finally:
        journal.close()
    return len(lost)


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
    """The row of an ended request; raises KeyError, ValueError or OverflowError when the record cannot be one."""
    started_at = datetime.fromtimestamp(record["started_at"], UTC)
    known = record | {"started_at": started_at, "day": started_at.date()}
    return {name: known.get(name) for name in COLUMNS}  # a journal may be of another version


def _rows(path: Path, raw: bytes, record: Record) -> list[Row]:
    try:
        return [row_of(record)]
    except (KeyError, ValueError, OverflowError) as problem:
        _set_aside(path, raw, repr(problem))
        return []


async def _store(journal: Journal, insert: Insert, rows: list[Row], end: int) -> None:
    if rows:
        for row, reason in await insert(rows):
            _set_aside(journal.path, orjson.dumps(row, default=str) + b"\n", reason)
    journal.settle(end)


def _set_aside(path: Path, raw: bytes, reason: str) -> None:
    aside = path.with_suffix(".rejected")
    log.error("a line of %s cannot become a row (%s): kept in %s", path.name, reason, aside.name)
    aside.touch(0o600)
    with aside.open("ab") as file:
        file.write(raw)
