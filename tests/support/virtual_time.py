"""An event loop whose clock jumps to the next timer instead of waiting for it: hours pass in milliseconds, and exactly.

    run(coroutine)    as asyncio.run, in virtual time

Everything in asyncio keeps its meaning, as its only clock is the loop's. Nothing else moves it: what waits for a real
socket, thread or process does not belong here. When nothing can ever happen again, while somebody still waits, `run`
raises Stuck instead of hanging.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stuck(RuntimeError):
    """All tasks wait, and no timer is set."""


class _Selector(selectors.DefaultSelector):
    """Advances the time by the requested wait."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise Stuck("everybody waits, and no timer is set")
        self.now_s = round(self.now_s + max(0.0, timeout), 9)  # so that 0.1 s ten times are 1 s
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0 s."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual.now_s


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of the coroutine, on its own virtual clock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
