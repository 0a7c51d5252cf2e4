"""The ledger of one gateway worker: every request that it admits ends in exactly one row in SQL.

On the request's path there is only a write to the worker's journal; a task moves what ended into SQL, and takes over
the journals of workers that died. SQL may be away for long: the journal grows, up to a bound, and from there on
nothing is admitted, so nothing is dropped. A request that a killed worker left gets a row that says `lost`, even when
its client received the last byte in the instant before.

It does not know limits or HTTP; wall-clock time only dates rows, everything measured comes from the monotonic clock.
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
    """Begins and ends requests; `run` settles them.

    Args:
        directory: where all workers' journals are.
        boot_id: this worker's, never used before.
        insert: stores rows in SQL (`storage.requests.insert_requests`).
        on_lost: told (app, id, tokens reserved) of every request that a dead worker left, before its row is made; again
            when the telling itself was cut off.
        on_end: told of every request that ended, row by row, on the request's path.
        on_reject: told how many lines cannot become rows, whenever some are set aside.
        prices: what tokens and engine seconds cost.
        write_s: between two looks for rows to write.
        sync_s: between two fsyncs: what a crash of the machine, not of the process, may lose.
        adopt_s: between two looks for journals of the dead.
        max_bytes: of the journal, from where nothing more begins.
        shrink_bytes: settled before the file is rewritten under load, which costs one fsync on the event loop.
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
        self._unwritten: list[Record] = []  # ends that the disk did not take
        self._flushing = asyncio.Lock()
        self._rejected = Rejected(on_reject)
        self._journal = WriteAheadLog.create(directory / f"{boot_id}.journal")

    @property
    def full(self) -> bool:
        """Whether nothing more may begin, because what there is cannot be moved to SQL."""
        return self._journal.size_bytes >= self._max_bytes or bool(self._unwritten)

    @property
    def backlog_bytes(self) -> int:
        """How much of the journal is not in SQL yet."""
        return self._journal.size_bytes - self._journal.settled

    def new_id(self) -> str:
        """An id that no request has, of this worker or another."""
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
        """Write down that a request begins; do it before anything is reserved or sent for it. Raises LedgerFull."""
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
            log.error("the journal cannot be written: %s", problem)
            raise LedgerFull from problem
        entry = self._open[fields["id"]] = RequestRecord(fields, self._clock, self._end)
        return entry

    def use(self, prices: Prices) -> None:
        """Requests that end from now on cost this."""
        self._prices = prices

    def running(self, app: str, request_id: str) -> RequestRecord | None:
        """The newest open request of `app` with this id, when it is this worker's."""
        for entry in reversed(self._open.values()):
            if entry.fields["request_id"] == request_id and entry.fields["app"] == app:
                return entry
        return None

    async def flush(self) -> None:
        """Move what ended to SQL; raises what SQL raises, and then it stays in the journal."""
        async with self._flushing:
            await replay(self._journal, self._insert_soon, self._journal.settled, self._rejected)
            is_idle = self._journal.is_settled and not self._open
            if is_idle or self._journal.settled >= self._shrink_bytes:
                self._journal.shrink([entry.fields for entry in self._open.values()])
            while self._unwritten:  # last: a full disk may have room again
                self._journal.append(self._unwritten[0])
                del self._unwritten[0]

    async def adopt(self) -> None:
        """Settle the journals of workers that died; raises what SQL or `on_lost` raises, after the others' turn."""
        failures: list[Exception] = []
        for path in sorted(self._directory.glob("*.journal")):
            try:
                lost = await adopt(path, self._insert_soon, self._on_lost, self._rejected)
            except AWAY:
                raise
            except Exception as problem:  # noqa: BLE001 - one journal that nobody can settle keeps no other waiting
                failures.append(problem)
                continue
            if lost is not None:
                log.warning("settled the journal %s of a worker that died: %d requests were lost", path.stem, lost)
        if failures:
            raise failures[0]

    async def run(self) -> None:
        """Write, sync and adopt until cancelled."""
        works = (self.flush, self._journal.sync, self.adopt)
        async with asyncio.TaskGroup() as group:
            for period_s, work in zip(self._periods_s, works, strict=True):
                group.create_task(_repeat(work, period_s))

    async def close(self) -> None:
        """Move the rest to SQL; what does not get there in time waits in the file for another worker."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.flush()
        except Exception as problem:  # noqa: BLE001 - SQL may fail in any way; the next worker tries again
            log.warning("requests wait in %s for SQL: %r", self._journal.path.name, problem)
        if self._journal.is_settled and not self._open:
            self._journal.remove()
        self._journal.close()

    def _end(self, entry: RequestRecord, ended: dict[str, Any]) -> None:
        ended["error_code"] = _fit(ended["error_code"], _LONGEST["error_code"])
        ended["cost_microusd"] = self._prices.cost_microusd(entry.segments)
        del self._open[entry.id]
        record = entry.fields | ended
        try:
            self._journal.append(record)
        except OSError as problem:
            log.error("the journal cannot be written: %s", problem)
            self._unwritten.append(record)
        self._on_end(record)

    async def _insert_soon(self, rows: list[Record]) -> list[tuple[Record, str]]:
        async with asyncio.timeout(SQL_TIMEOUT_S):
            return await self._insert(rows)


async def _repeat(work: Callable[[], Awaitable[None]], period_s: float) -> None:
    failing = False
    while True:
        try:
            await work()
        except Exception as problem:  # noqa: BLE001 - whatever a driver raises, the next try finds everything in place
            if not failing:
                log.warning("the ledger cannot %s, and tries on: %r", work.__name__, problem)
            failing = True
        else:
            if failing:
                log.warning("the ledger can %s again", work.__name__)
            failing = False
        await asyncio.sleep(period_s)


def _fit(text: str | None, longest: int) -> str | None:
    """What a client wrote, as a text column takes it: Postgres knows no NUL."""
    return None if text is None else text.replace("\0", "")[:longest]
