"""The ledger of one gateway worker: every admitted request becomes exactly one row in SQL.

The request path only writes to the worker's journal; a background task moves ended requests to SQL and adopts the
journals of workers that died. While SQL is down, the journal grows up to a limit; then no requests are admitted, so
that none are dropped. An open request of a killed worker gets a row with the outcome `lost`, even if its client had
received the last byte just before.

It does not know limits or HTTP. Wall-clock time is only used for timestamps; durations come from the monotonic clock.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from serving.errors import LedgerFull
from serving.ledger.pricing import Prices
from serving.ledger.replay import Insert, OnLost, Rejected, adopt, replay
from serving.ledger.write_ahead_log import Record, WriteAheadLog
from serving.protocol.record import RequestRecord
from storage.database import AWAY
from storage.tables import RequestClass

log = logging.getLogger(__name__)

SQL_TIMEOUT_S = 30.0  # a transaction; longer than SQLite waits for another writer
CLOSE_TIMEOUT_S = 5.0
_LONGEST = {"request_id": 128, "end_user": 256, "endpoint": 64, "model_asked": 128, "error_code": 64}


class Ledger:
    """Begins and ends requests; `run` writes them to SQL.

    Args:
        directory: folder of all workers' journals.
        boot_id: unique id of this worker.
        insert: stores rows in SQL (`storage.requests.insert_requests`).
        on_lost: called with (app, id, tokens reserved) for every open request of a dead worker before its row is made;
            called again if it was interrupted.
        on_end: called with the row of every request that ends, on the request path.
        on_reject: called with the number of lines that were set aside because they cannot become rows.
        prices: prices of tokens and engine seconds.
        write_s: interval of writing rows.
        sync_s: interval of fsync; a crash of the machine, not of the process, can lose this much.
        adopt_s: interval of looking for journals of dead workers.
        max_bytes: size of the journal above which no requests begin.
        shrink_bytes: settled bytes after which the file is rewritten under load, with one fsync on the event loop.
        clock: monotonic seconds.
        wall: unix seconds.

    """

    def __init__(
        self,
        *,
        directory: Path,
        boot_id: str,
        insert: Insert,
        on_lost: OnLost,
        on_end: Callable[[Record], None] = lambda _: None,
        on_reject: Callable[[int], None] = lambda _: None,
        prices: Prices,
        write_s: float,
        sync_s: float,
        adopt_s: float,
        max_bytes: int,
        shrink_bytes: int = 16 * 2**20,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._boot_id = boot_id
        self._insert = insert
        self._on_lost = on_lost
        self._on_end = on_end
        self._prices = prices
        self._periods_s = (write_s, sync_s, adopt_s)
        self._max_bytes = max_bytes
        self._shrink_bytes = shrink_bytes
        self._clock = clock
        self._wall = wall
        self._numbers = count(1)
        self._open: dict[str, RequestRecord] = {}
        self._unwritten: list[Record] = []  # ended requests that could not be written to the disk
        self._flushing = asyncio.Lock()
        self._rejected = Rejected(on_reject)
        self._journal = WriteAheadLog.create(directory / f"{boot_id}.journal")

    @property
    def full(self) -> bool:
        """Whether no request may begin because the journal cannot be moved to SQL."""
        return self._journal.size_bytes >= self._max_bytes or bool(self._unwritten)

    def new_id(self) -> str:
        """A request id that is unique over all workers."""
        return f"{self._boot_id}-{next(self._numbers):x}"

    def begin(
        self,
        *,
        request_id: str,
        app: str,
        key_id: str,
        end_user: str | None,
        class_: RequestClass,
        endpoint: str,
        model_asked: str | None,
        tokens_reserved: int = 0,
    ) -> RequestRecord:
        """Record that a request begins, before anything is reserved or sent for it; raises LedgerFull."""
        if self.full:
            raise LedgerFull
        texts = {"request_id": request_id, "end_user": end_user, "endpoint": endpoint, "model_asked": model_asked}
        fields: Record = {
            "id": self.new_id(),
            "app": app,
            "key_id": key_id,
            "class": class_,
            "tokens_reserved": tokens_reserved,
            "started_at": self._wall(),
            **{name: _fit(text, _LONGEST[name]) for name, text in texts.items()},
        }
        try:
            self._journal.append(fields)
        except OSError as problem:
            log.error("writing the journal failed: %s", problem)
            raise LedgerFull from problem
        record = self._open[fields["id"]] = RequestRecord(fields, self._clock, self._end)
        return record

    def reload(self, prices: Prices) -> None:
        """Replace the prices for requests that end from now on."""
        self._prices = prices

    def running(self, app: str, request_id: str) -> RequestRecord | None:
        """This worker's newest open request of `app` with this id, or None."""
        for record in reversed(self._open.values()):
            if record.fields["request_id"] == request_id and record.fields["app"] == app:
                return record
        return None

    async def flush(self) -> None:
        """Move ended requests to SQL; if SQL raises, they stay in the journal."""
        async with self._flushing:
            await replay(self._journal, self._insert_soon, self._journal.settled, self._rejected)
            is_idle = self._journal.is_settled and not self._open
            if is_idle or self._journal.settled >= self._shrink_bytes:
                self._journal.shrink([record.fields for record in self._open.values()])
            while self._unwritten:  # last, because a full disk may have space again
                self._journal.append(self._unwritten[0])
                del self._unwritten[0]

    async def adopt(self) -> None:
        """Settle the journals of dead workers; the first error of SQL or `on_lost` is raised after the others."""
        failures: list[Exception] = []
        for path in sorted(self._directory.glob("*.journal")):
            try:
                lost = await adopt(path, self._insert_soon, self._on_lost, self._rejected)
            except AWAY:
                raise
            except Exception as problem:  # noqa: BLE001 - one journal that cannot be settled must not block the others
                failures.append(problem)
                continue
            if lost is not None:
                log.warning("settled the journal %s of a dead worker: %d requests were lost", path.stem, lost)
        if failures:
            raise failures[0]

    async def run(self) -> None:
        """Write rows, sync, and adopt journals until cancelled."""
        works = (self.flush, self._journal.sync, self.adopt)
        async with asyncio.TaskGroup() as group:
            for period_s, work in zip(self._periods_s, works, strict=True):
                group.create_task(_repeat(work, period_s))

    async def close(self) -> None:
        """Move the rest to SQL; what is not moved in time stays in the file for another worker."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.flush()
        except Exception as problem:  # noqa: BLE001 - SQL may fail in any way; the next worker tries again
            log.warning("requests stay in %s until SQL works again: %r", self._journal.path.name, problem)
        if self._journal.is_settled and not self._open:
            self._journal.remove()
        self._journal.close()

    def _end(self, record: RequestRecord, ended: dict[str, Any]) -> None:
        ended["error_code"] = _fit(ended["error_code"], _LONGEST["error_code"])
        ended["cost_microusd"] = self._prices.cost_microusd(record.segments)
        del self._open[record.id]
        row = record.fields | ended
        try:
            self._journal.append(row)
        except OSError as problem:
            log.error("writing the journal failed: %s", problem)
            self._unwritten.append(row)
        self._on_end(row)

    async def _insert_soon(self, rows: list[Record]) -> list[tuple[Record, str]]:
        async with asyncio.timeout(SQL_TIMEOUT_S):
            return await self._insert(rows)


async def _repeat(work: Callable[[], Awaitable[None]], period_s: float) -> None:
    failing = False
    while True:
        try:
            await work()
        except Exception as problem:  # noqa: BLE001 - drivers raise anything, and a retry is always safe
            if not failing:
                log.warning("ledger: %s failed and is retried: %r", work.__name__, problem)
            failing = True
        else:
            if failing:
                log.warning("ledger: %s works again", work.__name__)
            failing = False
        await asyncio.sleep(period_s)


def _fit(text: str | None, longest: int) -> str | None:
    """A client's text for a column: cut to `longest`, without NUL, which Postgres does not accept."""
    return None if text is None else text.replace("\0", "")[:longest]
