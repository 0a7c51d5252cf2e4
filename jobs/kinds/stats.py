"""Counts usage from the ledger. The last days are recounted each time, because rows arrive late."""

from datetime import UTC, timedelta
from typing import cast

from jobs.runner import JobRun
from storage.jobs.kinds import StatsParams
from storage.stats import count_day, save_days


async def count_stats(job: JobRun) -> int:
    """Count and store; returns the number of rows."""
    days = cast("StatsParams", job.params).days
    today = job.now().astimezone(UTC).date()
    rows = []
    for number in range(days):
        rows += await count_day(job.engine, today - timedelta(days=number))
        await job.progress(number + 1, days + 1)
    async with job.finishing({"rows": len(rows), "days": days}) as connection:
        await save_days(connection, rows, now=job.now())
    return len(rows)
