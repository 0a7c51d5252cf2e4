"""Usage: per application and day, counted from the ledger; per person, on request.

A session is a series of requests less than SESSION_GAP apart, from the start of the first to the end of the last, at
least a minute. An application's counts are anonymous. It does not know who may see them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database import upsert
from storage.memory.owner import Owner
from storage.memory.tables import Conversation, Memory
from storage.services.tables import AppDay
from storage.tables import Request

SESSION_GAP = timedelta(minutes=30)
LEAST_SESSION_S = 60
RETURNS = (1, 7, 30)  # days
_TALK: list[ColumnElement[bool]] = [
    Request.class_ != "job",
    Request.end_user.is_not(None),
    Request.outcome.in_(("ok", "degraded")),
    Request.endpoint == "/v1/chat/completions",
]


@dataclass(slots=True)
class Used:
    """The usage of a person or application."""

    requests: int = 0
    sessions: int = 0
    seconds: int = 0
    agents: Counter[str] = field(default_factory=Counter)
    days: set[date] = field(default_factory=set)


def count_use(rows: Iterable[tuple[datetime, float | None, str | None]]) -> Used:
    """Count requests in order: start, duration, model id."""
    used, begun, ended = Used(), None, None
    for at, latency_s, model in rows:
        end = at + timedelta(seconds=latency_s or 0)
        used.requests += 1
        used.agents[model or "unknown"] += 1
        used.days.add(at.date())
        if ended is None or at - ended > SESSION_GAP:
            used.seconds += _length(begun, ended)
            used.sessions += 1
            begun = at
        ended = end if ended is None else max(ended, end)
    used.seconds += _length(begun, ended)
    return used


def _length(begun: datetime | None, ended: datetime | None) -> int:
    if begun is None or ended is None:
        return 0
    return max(round((ended - begun).total_seconds()), LEAST_SESSION_S)


async def count_day(engine: AsyncEngine, day: date) -> list[dict[str, Any]]:
    """The rows of a day, one per application."""
    columns = (Request.app, Request.end_user, Request.started_at, Request.latency_s, Request.model_asked)
    query = select(*columns).where(Request.day == day, *_TALK).order_by(Request.app, Request.end_user)
    talks: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    async with engine.connect() as connection:
        for app, user, *row in await connection.execute(query.order_by(Request.started_at)):
            talks[app][str(user)].append(row)
        return [await _row(connection, app, day, people) for app, people in talks.items()]


async def _row(connection: AsyncConnection, app: str, day: date, people: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    uses = [count_use(rows) for rows in people.values()]
    returned = {
        f"returned_{days}": len(await _new_on(connection, app, day - timedelta(days=days)) & people.keys())
        for days in RETURNS
    }
    agents: Counter[str] = sum((each.agents for each in uses), Counter())
    return {
        "app": app,
        "day": day,
        "people": len(people),
        "new_people": len(await _new_on(connection, app, day)),
        **returned,
        "requests": sum(each.requests for each in uses),
        "sessions": sum(each.sessions for each in uses),
        "seconds": sum(each.seconds for each in uses),
        "agents": dict(agents),
    }


async def _new_on(connection: AsyncConnection, app: str, day: date) -> set[str]:
    """The people whose first activity was on this day."""
    first = select(Request.end_user).where(Request.app == app, Request.day <= day, *_TALK)
    first = first.group_by(Request.end_user).having(func.min(Request.day) == day)
    return {str(user) for user in (await connection.execute(first)).scalars()}


async def save_days(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Replace earlier counts, within an open change."""
    for row in rows:
        values = {**row, "counted_at": now}
        new = upsert(AppDay, connection.dialect.name).values(**values)
        await connection.execute(new.on_conflict_do_update(index_elements=["app", "day"], set_=values))


async def read_days(engine: AsyncEngine, app: str, since: date) -> list[dict[str, Any]]:
    """The counts of an application since then, by day."""
    query = select(*AppDay.__table__.columns).where(AppDay.app == app, AppDay.day >= since).order_by(AppDay.day)
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]


async def use_of(engine: AsyncEngine, owner: Owner, since: date) -> Used:
    """The usage of a person since then."""
    query = select(Request.started_at, Request.latency_s, Request.model_asked).where(
        Request.app == owner.app, Request.end_user == owner.user, Request.day >= since, *_TALK
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(query.order_by(Request.started_at))).all()
    return count_use((at, latency_s, model) for at, latency_s, model in rows)


async def conversations_of(engine: AsyncEngine, owner: Owner, since: datetime) -> int:
    """The number of their stored conversations that began since then."""
    query = owner.select(Conversation, func.count()).where(Conversation.created_at >= since)
    async with engine.connect() as connection:
        return int((await connection.execute(query)).scalar_one())


async def feelings_of(engine: AsyncEngine, owner: Owner, since: datetime) -> list[str]:
    """The texts of memories about their feelings since then."""
    query = owner.select(Memory, Memory.text).where(
        Memory.kind == "feeling", Memory.created_at >= since, Memory.muted.is_(False)
    )
    async with engine.connect() as connection:
        return list((await connection.execute(query)).scalars())
