"""Stopping asyncio tasks."""

import asyncio
import contextlib


async def stopped(task: "asyncio.Task[None]") -> None:
    """Cancel `task` and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
