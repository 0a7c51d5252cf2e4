"""Runs in a real process before all else, and has it die by SIGKILL at a chosen step of what a request writes to SQL.

Python finds the `sitecustomize` that `killed_gateway.prepare_process` writes. A step is before a writing statement,
before a commit, or after one. They count while a file says at which to die, and of which request: what the process
writes besides, in the background, is not counted.
"""

import os
import signal
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

ARMED = "BONDHU_TEST_ARMED"  # names the file with the number of the step, from 0, and the request's id
NOT_COUNTED = ("SELECT", "PRAGMA", "BEGIN")


def arm() -> None:
    """Have this process die when the file says so."""
    armed = Path(os.environ[ARMED])
    passed = 0

    def read() -> tuple[int, str]:
        step, _, request = armed.read_text().partition(" ") if armed.exists() else ("-1", "", "")
        return int(step), request

    def is_in_request() -> bool:
        from serving.observability.request_context import current

        exchange = current.get()
        return exchange is not None and exchange.request_id == read()[1]

    def pass_one(what: str) -> None:
        nonlocal passed
        if passed == read()[0]:
            armed.with_suffix(".at").write_text(what)
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def statement(connection: Any, _: Any, text: str, *__: Any) -> None:
        if is_in_request() and not text.lstrip().upper().startswith(NOT_COUNTED):
            connection.info["counts"] = True
            pass_one(text)

    def commit(connection: Any) -> None:
        if connection.info.get("counts"):
            pass_one("before a commit")

    def checkin(_: Any, record: Any) -> None:
        if record.info.pop("counts", False):
            pass_one("after a commit")

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", commit)  # before the driver is told
    event.listen(Pool, "checkin", checkin)  # after
