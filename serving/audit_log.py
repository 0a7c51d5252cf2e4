"""The audit log: what left the house, in files of their own, a day a file, kept for as long as is configured.

Ordinary logs are cut when they grow; this is not, and nothing else is written here. A record is one line of JSON,
appended in one write, so that several workers may share a file. Whoever cannot write it must not do what it tells of:
errors are raised. It does not know what is audited.
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

PREFIX, SUFFIX = "audit-", ".jsonl"


class AuditLog:
    """One worker's way to the files.

    Args:
        directory: where they are.
        keep_days: after so many days a file is deleted.
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
        """Append a record, which gets its `time`; raises OSError when it is not written."""
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
                raise OSError("the audit record was written in part")
        finally:
            os.close(file)

    def _delete_old(self, now: datetime) -> None:
        oldest = f"{PREFIX}{(now - self._keep).date().isoformat()}{SUFFIX}"
        for file in self._directory.glob(f"{PREFIX}*{SUFFIX}"):
            if file.name < oldest:
                file.unlink(missing_ok=True)
