"""When jobs are due by the clock: at a time of day, in each person's own time zone, once per slot.

A slot is a day, or a week if a weekday is set, written so that later slots compare greater. SQL stores the last slot
used, so a slot has at most one job even if workers restart, clocks change for summer time, or a person travels. A time
that the clock skips is due right after the change; a time that occurs twice is due the first time. A slot that no
worker could take is skipped, not made up for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.inbox import box as inbox
from agents.personality import profile
from storage.agents.tables import AgentState
from storage.jobs.kinds import KINDS, JobKind
from storage.jobs.queue import SERVICE, add_job
from storage.media.tables import Playlist
from storage.memory.owner import Owner
from storage.memory.people import zone_of
from storage.memory.tables import JobSlot, Person
from storage.services.tables import ServiceLink
from storage.tables import Base

RECENT = timedelta(days=30)  # who talked to an agent within it has things prepared


@dataclass(frozen=True, slots=True)
class Schedule:
    """At `at`, local time, every day or on `weekday` (Monday is 0); or every `every_h` hours by UTC."""

    at: time = time(4)
    weekday: int | None = None
    every_h: int | None = None


@dataclass(frozen=True, slots=True)
class Schedules:
    """The schedules by kind; `zone` is the service's, used for people whose profile has none."""

    by_kind: Mapping[str, Schedule] = field(default_factory=dict)
    zone: tzinfo = UTC


def slot_of(schedule: Schedule, now: datetime, zone: tzinfo) -> str | None:
    """The current slot; None if that of the day, or week, has not begun."""
    if schedule.every_h is not None:
        hours = int(now.timestamp() // 3600) // schedule.every_h * schedule.every_h
        return datetime.fromtimestamp(hours * 3600, UTC).strftime("%Y-%m-%dT%H")
    local = now.astimezone(zone)
    day = local.date()
    if schedule.weekday is not None:
        day += timedelta(days=schedule.weekday - day.weekday())
    if (local.date(), local.time()) < (day, schedule.at):
        return None
    return day.isoformat()


async def add_scheduled(
    engine: AsyncEngine, schedules: Schedules, kinds: Collection[str], *, now: datetime
) -> list[str]:
    """Add the jobs of `kinds` whose slot has begun; returns their ids."""
    added = []
    for name, schedule in schedules.by_kind.items():
        if name not in kinds:
            continue
        for owner, zone, last in await _whose(engine, KINDS[name], schedules.zone, now):
            slot = slot_of(schedule, now, zone)
            if slot is not None and (last is None or last < slot):
                added.append(await add_job(engine, owner, name, now=now, slot=slot))
    return [id_ for id_ in added if id_ is not None]


async def _whose(
    engine: AsyncEngine, kind: JobKind, zone: tzinfo, now: datetime
) -> list[tuple[Owner, tzinfo, str | None]]:
    """The owners who may get such a job, their time zones, and their last slots."""
    if kind.of == "service":
        query = SERVICE.select(JobSlot, JobSlot.slot).where(JobSlot.kind == kind.name)
        async with engine.connect() as connection:
            return [(SERVICE, zone, (await connection.execute(query)).scalar_one_or_none())]
    table = Base.metadata.tables[kind.needs or Person.__tablename__]
    theirs = select(table.c.app, table.c.end_user).where(*_filters(kind.name, now)).distinct().subquery()
    slots = and_(JobSlot.app == theirs.c.app, JobSlot.end_user == theirs.c.end_user, JobSlot.kind == kind.name)
    people = and_(Person.app == theirs.c.app, Person.end_user == theirs.c.end_user)
    query = (
        select(theirs.c.app, theirs.c.end_user, Person.profile, JobSlot.slot)
        .select_from(theirs)
        .outerjoin(Person, people)
        .outerjoin(JobSlot, slots)
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(query)).all()
    return [(Owner(app, user), zone_of(details) or zone, slot) for app, user, details, slot in rows]


def _filters(kind: str, now: datetime) -> list[ColumnElement[bool]]:
    if kind == "videos":
        return [AgentState.agent == "video", AgentState.updated_at > now - RECENT]
    if kind == "inbox":
        return [AgentState.agent == inbox.AGENT, AgentState.name == inbox.SETTINGS]
    if kind == "personality":
        return [AgentState.agent == profile.AGENT, AgentState.name == profile.NAME]
    if kind == "history":
        return [ServiceLink.service.in_(("lastfm", "listenbrainz"))]
    if kind == "playlists":
        return [Playlist.updated_at <= now - RECENT]
    return []
