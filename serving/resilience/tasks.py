"""Stopping asyncio tasks, and blocks of them."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self


async def stopped(task: "asyncio.Task[None]") -> None:
    """Cancel `task` and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class CancelScope:
    """A block that others can cancel: it ends early, and its task goes on after it (as in Trio and AnyIO).

    Attributes:
        is_cancelled: `cancel` was called.
        was_cut: the block was cancelled before its end.

    """

    def __init__(self) -> None:
        self.is_cancelled = False
        self.was_cut = False
        self._task: asyncio.Task[None] | None = None  # while it is in the block
        self._cancelling = 0  # requests to cancel the task itself, made before

    def cancel(self) -> None:
        """Cancel the block, also one that has not begun; must not be called by its own task."""
        self.is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> Self:
        """Begin the block."""
        self._task = asyncio.current_task()
        assert self._task is not None, "it is used in a task"
        self._cancelling = self._task.cancelling()
        if self.is_cancelled:
            asyncio.get_running_loop().call_soon(self._cancel_late)
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        """End the block; absorbs its own cancellation, but none of the task's."""
        task, self._task = self._task, None
        assert task is not None, "it was entered"
        if not self.is_cancelled or not isinstance(error, asyncio.CancelledError):
            return False
        self.was_cut = task.uncancel() <= self._cancelling
        return self.was_cut

    def _cancel_late(self) -> None:
        if self._task is not None:
            self._task.cancel()
