"""The round trip that a health check looks at: the schedule sends this task, and whoever does it touches a file.

A worker can live and take nothing from the queue: after Redis was away, for one. Its process tells nothing then; the
age of this file does.
"""

from pathlib import Path
from typing import Any

from celery import Celery

FILE = "BONDHU_WORKER_WORKED"  # environment: the file; without it there is no such task
EVERY_S = 30.0


def register(app: Celery, file: Path) -> dict[str, Any]:
    """Add the task; return its part of the schedule."""

    def worked() -> None:
        file.touch()

    task = app.task(name="jobs.worked", shared=False)(worked)
    return {"worked": {"task": task.name, "schedule": EVERY_S, "options": {"expires": EVERY_S}}}
