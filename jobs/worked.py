"""The round trip for health checks: the schedule sends this task, and the worker that runs it touches a file.

A worker can be alive and take nothing from the queue, for example after Redis was down. Its process does not show that;
the age of this file does. The first task is sent when the worker is ready, so a fresh worker is proven at once.
"""

from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_ready

FILE = "BONDHU_WORKER_WORKED"  # environment: the file; without it there is no such task
EVERY_S = 30.0


def register(app: Celery, file: Path, every_s: float = EVERY_S) -> dict[str, Any]:
    """Add the task; returns its schedule entry."""

    def worked() -> None:
        file.touch()

    task = app.task(name="jobs.worked", shared=False)(worked)

    def send_first(**_: Any) -> None:
        task.apply_async(expires=every_s)

    worker_ready.connect(send_first, weak=False)
    return {"worked": {"task": task.name, "schedule": every_s, "options": {"expires": every_s}}}
