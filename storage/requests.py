"""The ledger in SQL: one row per request, inserted in repeatable batches, and sums over them.

A row is a plain dict whose keys are the columns of `requests`. Existing ids are skipped, so a journal that is replayed
more than once still makes each row once. It does not know journals, prices or HTTP.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Select, func, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.tables import Request

Row = dict[str, Any]
Dimension = Literal["app", "user", "model", "day"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

_TABLE = Request.__table__
COLUMNS = tuple(str(column.name) for column in _TABLE.columns)


def _columns_of(kind: type) -> frozenset[str]:
    return frozenset(str(column.name) for column in _TABLE.columns if column.type.python_type is kind)


INTEGERS, FLOATS, TEXTS = _columns_of(int), _columns_of(float), _columns_of(str)
NULLABLE = frozenset(str(column.name) for column in _TABLE.columns if column.nullable)
MAX_INTEGER = 2**63 - 1  # what both databases' widest integers hold
_GROUPS = {"app": Request.app, "user": Request.end_user, "model": Request.model, "day": Request.day}
_TOTALS = ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_microusd")
_UNSTORABLE = (TypeError, ValueError, OverflowError)  # what drivers raise of a value, some of them unwrapped
MAX_REASON_CHARS = 500  # of why a row cannot be stored: drivers repeat the row
_ROWS_OWN_FAULT = ("22", "23")  # SQLSTATE classes: data exception, integrity constraint violation


async def insert_requests(engine: AsyncEngine, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Row, str]]:
    """Insert in one transaction; existing rows stay as they are.

    Returns the rows that the database will never accept, each with the reason. Any other failure is raised; then either
    nothing was inserted, or everything was and the answer got lost: insert again.
    """
    try:
        await _insert(engine, rows)
    except (StatementError, TypeError, ValueError, OverflowError) as problem:
        if not _is_rows_fault(problem):
            raise
        if len(rows) == 1:
            return [(dict(rows[0]), str(problem.__cause__ or problem)[:MAX_REASON_CHARS])]
        middle = len(rows) // 2
        return await insert_requests(engine, rows[:middle]) + await insert_requests(engine, rows[middle:])
    return []


async def find_request(engine: AsyncEngine, *, app: str, request_id: str) -> Row | None:
    """Return the newest request of `app` with this id; None if there is none."""
    query = (
        select(_TABLE)
        .where(Request.app == app, Request.request_id == request_id)
        .order_by(Request.started_at.desc(), Request.id.desc())
        .limit(1)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else dict(row._mapping)


async def sum_requests(
    engine: AsyncEngine,
    by: Iterable[Dimension],
    *,
    app: str | None = None,
    user: str | None = None,
    model: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 1000,
) -> list[Row]:
    """Return requests, tokens and cost (micro-dollars) for each group, ordered by the group; without groups one sum.

    Args:
        engine: the database.
        by: what makes a group.
        app: only this application's.
        user: only this end user's.
        model: only what this model answered (last).
        since: only requests that started at or after it.
        until: only requests that started before it.
        limit: most groups returned.

    """
    groups: list[Any] = [_GROUPS[name].label(name) for name in dict.fromkeys(by)]
    totals = [func.coalesce(func.sum(getattr(Request, name)), 0).label(name) for name in _TOTALS]
    query: Select[*tuple[Any, ...]] = select(*groups, func.count().label("requests"), *totals).select_from(Request)
    for column, value in ((Request.app, app), (Request.end_user, user), (Request.model, model)):
        if value is not None:
            query = query.where(column == value)
    if since is not None:
        query = query.where(Request.started_at >= since)
    if until is not None:
        query = query.where(Request.started_at < until)
    if groups:
        query = query.group_by(*groups).order_by(*(group.nulls_first() for group in groups)).limit(limit)
    async with engine.connect() as connection:
        found = [dict(row._mapping) for row in await connection.execute(query)]
    return [row | {name: int(row[name]) for name in _TOTALS} for row in found]  # Postgres sums bigint into numeric


async def _insert(engine: AsyncEngine, rows: Sequence[Mapping[str, Any]]) -> None:
    statement = upsert(Request, engine.dialect.name).on_conflict_do_nothing(index_elements=["id"])
    async with engine.begin() as connection:
        await connection.execute(statement, [dict(row) for row in rows])


def _is_rows_fault(problem: Exception) -> bool:
    """Whether the row is invalid, rather than the connection or the database unavailable."""
    if not isinstance(problem, DBAPIError):
        cause = problem.orig if isinstance(problem, StatementError) else problem
        return isinstance(cause, _UNSTORABLE)
    sqlstate = getattr(problem.orig, "sqlstate", None) or ""
    is_unstorable = isinstance(problem.orig.__cause__, _UNSTORABLE) if problem.orig else False
    return isinstance(problem, IntegrityError | DataError) or sqlstate[:2] in _ROWS_OWN_FAULT or is_unstorable
