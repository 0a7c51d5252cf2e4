"""The audit log of calls to external models: one file per day, kept for a configured number of days.

Unlike ordinary logs it is never truncated, and has nothing else in it. A record is one line of JSON, appended in one
write, so that several workers can share a file. Errors are raised: a caller that cannot write the record must not do
what it describes. This module does not know what is audited.
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

PREFIX, SUFFIX = "audit-", ".jsonl"


class AuditLog:
    """Writes records to the files; one per worker.

    Args:
        directory: folder of the files.
        keep_days: number of days after which a file is deleted.
        now: the time of day, UTC.

    """

    def __init__(
        self, directory: Path, *, keep_days: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._directory = directory
        self._keep = timedelta(days=keep_days)
        self._now = now
        self._day = ""

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record with the current `time`; raises OSError if it could not be written."""
        now = self._now()
        day = now.date().isoformat()
        if day != self._day:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._delete_old(now)
            self._day = day
        line = orjson.dumps({"time": now.isoformat(timespec="milliseconds"), **record}) + b"\n"
        file = os.open(self._directory / f"{PREFIX}{day}{SUFFIX}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(file, line) != len(line):
                raise OSError("the audit record was only partly written")
        finally:
            os.close(file)

    def _delete_old(self, now: datetime) -> None:
        oldest = f"{PREFIX}{(now - self._keep).date().isoformat()}{SUFFIX}"
        for file in self._directory.glob(f"{PREFIX}*{SUFFIX}"):
            if file.name < oldest:
                file.unlink(missing_ok=True)
