"""What statements take, how often one request repeats one, and how many connections are opened: by SQLAlchemy's events.

A statement is named by its verb and its table, never by its values. It does not know which database.
"""

import re
import time
from functools import lru_cache
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.observability import request_context
from serving.observability.metrics import Metrics

_NAME = re.compile(
    r"^\s*(?:(SELECT)\b.*?\bFROM|(INSERT) INTO|(UPDATE)|(DELETE) FROM)\s+\"?(\w+)", re.IGNORECASE | re.DOTALL
)
_STARTED = "bondhu_started_s"


def watch(engine: AsyncEngine, metrics: Metrics) -> None:
    """Count what goes through this pool."""

    def before(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
        if context is not None:
            setattr(context, _STARTED, time.monotonic())
        seen = request_context.current.get()
        if seen is not None:
            seen.statements[statement] = seen.statements.get(statement, 0) + 1

    def after(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
        started_s = getattr(context, _STARTED, None)
        if started_s is not None:
            metrics.observe_sql(name_of(statement), time.monotonic() - started_s)

    def connected(_: Any, __: Any) -> None:
        metrics.count_sql_connect()

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)
    event.listen(engine.sync_engine, "connect", connected)


@lru_cache(maxsize=1024)
def name_of(statement: str) -> str:
    """Its verb and table, as `select messages`; `other` for what is none of these."""
    found = _NAME.match(statement)
    if found is None:
        return "other"
    verb = next(group for group in found.groups()[:4] if group)
    return f"{verb.lower()} {found[5].lower()}"
