"""Limits of a task and of a worker: seconds per task; tasks and memory per worker, which then exits cleanly.

This is for the solo pool, where Celery's own limits do nothing because tasks run in the worker's process. A task that
takes too long is interrupted by an exception; if it ignores that, the process exits and the broker delivers the task
again. A worker at its limit stops between two tasks; its supervisor starts a new one.
"""

import logging
import os
import signal
from dataclasses import dataclass
from types import FrameType
from typing import Any

from celery import signals
from celery.exceptions import SoftTimeLimitExceeded
from celery.worker import state

log = logging.getLogger(__name__)

GRACE_S = 10.0  # for a task to end after SoftTimeLimitExceeded
NOT_COUNTED = frozenset({"jobs.worked", "jobs.send_due", "jobs.flush_key_uses"})  # the beat's own, small and many
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The limits; None: no limit."""

    task_timeout_s: float | None = None
    max_tasks: int | None = None
    max_memory_mb: int | None = None


def watch(ceilings: Ceilings) -> "Watch":
    """Apply the limits to this process's tasks; the caller keeps the result alive, because Celery does not."""
    held = Watch(ceilings)
    signals.task_prerun.connect(held.begins)
    signals.task_postrun.connect(held.ends)
    return held


class Watch:
    """Counts the tasks of one process and times the running one, in the main thread."""

    def __init__(self, ceilings: Ceilings) -> None:
        self._ceilings = ceilings
        self._done = 0
        self._has_warned = False
        signal.signal(signal.SIGALRM, self._too_long)

    def begins(self, **_: Any) -> None:
        """A task starts."""
        self._has_warned = False
        if self._ceilings.task_timeout_s is not None:
            signal.setitimer(signal.ITIMER_REAL, self._ceilings.task_timeout_s)

    def ends(self, task: Any = None, **_: Any) -> None:
        """The task has ended, in whatever way."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        if task is not None and task.name in NOT_COUNTED:
            return
        self._done += 1
        if reason := self._had_enough():
            log.warning("the worker exits: %s", reason)
            state.should_stop = os.EX_OK  # Celery looks at it before the next task; this one is acknowledged first

    def _had_enough(self) -> str | None:
        limits = self._ceilings
        if limits.max_tasks is not None and self._done >= limits.max_tasks:
            return f"it has run {self._done} tasks"
        used_mb = resident_bytes() / 1e6
        if limits.max_memory_mb is not None and used_mb > limits.max_memory_mb:
            return f"it uses {used_mb:.0f} MB, more than {limits.max_memory_mb}"
        return None

    def _too_long(self, _number: int, _frame: FrameType | None) -> None:
        if self._has_warned:
            log.error("a task did not stop after its timeout: the worker exits")
            os._exit(os.EX_TEMPFAIL)
        self._has_warned = True
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        raise SoftTimeLimitExceeded(self._ceilings.task_timeout_s)


def resident_bytes() -> int:
    """The resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE_BYTES
