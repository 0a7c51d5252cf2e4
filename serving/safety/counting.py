"""Counts referrals to help for the yearly report, in the background; while SQL is unavailable, they wait in memory.

A worker that is killed loses the counts that it has not written yet.
"""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime

from agents.safety.counts import Count, Counts, counted
from agents.safety.risk import Risk
from storage.database import AWAY

log = logging.getLogger(__name__)
RETRY_S = 30.0


class Referrals:
    """Counts the referrals of one gateway worker."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._pending: list[Count] = []
        self._changed = asyncio.Event()

    def note(self, risk: Risk, now: datetime) -> None:
        """Count a referral: help was named at `now`."""
        count = counted(risk, now.astimezone(UTC))
        if count is not None:
            self._pending.append(count)
            self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self.flush():
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    async def flush(self) -> bool:
        """Write the pending counts; return whether all are written."""
        while self._pending:
            try:
                await self._counts.add(self._pending[0])
            except AWAY as problem:
                log.warning("a referral is not counted yet, it is retried: %r", problem)
                return False
            self._pending.pop(0)
        return True

    async def close(self) -> None:
        """Write the pending counts once more, within a second."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.flush()
