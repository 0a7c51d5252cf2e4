"""Measures the duration and repetition of SQL statements, and opened connections, through SQLAlchemy's events.

A statement is named by its verb and its table, never by its values. This module does not know which database it is.
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
    """Measure the statements and connections of this pool."""

    def before_execute(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
        if context is not None:
            setattr(context, _STARTED, time.monotonic())
        exchange = request_context.current.get()
        if exchange is not None:
            exchange.statements[statement] = exchange.statements.get(statement, 0) + 1

    def after_execute(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
        started_s = getattr(context, _STARTED, None)
        if started_s is not None:
            metrics.observe_sql(name_of(statement), time.monotonic() - started_s)

    def connected(_: Any, __: Any) -> None:
        metrics.count_sql_connect()

    event.listen(engine.sync_engine, "before_cursor_execute", before_execute)
    event.listen(engine.sync_engine, "after_cursor_execute", after_execute)
    event.listen(engine.sync_engine, "connect", connected)


@lru_cache(maxsize=1024)
def name_of(statement: str) -> str:
    """Return the verb and the table, such as `select messages`; `other` for any other statement."""
    match = _NAME.match(statement)
    if match is None:
        return "other"
    verb = next(group for group in match.groups()[:4] if group)
    return f"{verb.lower()} {match[5].lower()}"
