"""Counts help that was named, for the yearly report, without anybody waiting for it; SQL that is away gets them later.

What a worker that is killed had not written is lost: at most what was counted while SQL was away.
"""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime

from agents.safety.counts import Count, Counts, counted
from agents.safety.risk import Risk
from storage.database import AWAY

log = logging.getLogger(__name__)
TRY_AGAIN_S = 30.0


class Referrals:
    """One gateway worker's."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._waiting: list[Count] = []
        self._news = asyncio.Event()

    def note(self, risk: Risk, now: datetime) -> None:
        """Help was named now."""
        count = counted(risk, now.astimezone(UTC))
        if count is not None:
            self._waiting.append(count)
            self._news.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.flush():
                await asyncio.sleep(TRY_AGAIN_S)
                self._news.set()

    async def flush(self) -> bool:
        """Write what waits; whether all of it is written."""
        while self._waiting:
            try:
                await self._counts.add(self._waiting[0])
            except AWAY as problem:
                log.warning("a referral is counted later: %r", problem)
                return False
            self._waiting.pop(0)
        return True

    async def close(self) -> None:
        """Write what waits, once more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.flush()
