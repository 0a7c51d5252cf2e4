"""Usage of the service in anonymous numbers: conversations, people, requests, retention, memories."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, distinct, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.memory.tables import Conversation, Memory, Message
from storage.tables import Request

DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class BusinessFigures:
    """Figures of the last 24 hours; `returned_ratio`: the share of last week's people seen this week."""

    conversations: int
    people: int
    requests: int
    turns: int
    memories: int  # all that there are
    returned_ratio: float | None  # None: nobody came in the week before

    @property
    def requests_per_person(self) -> float:
        """Requests with a named person, divided by the number of people."""
        return self.requests / self.people if self.people else 0.0


async def read_figures(engine: AsyncEngine, *, now: datetime) -> BusinessFigures:
    """Query SQL."""
    this_week = select(Request.app, Request.end_user).where(Request.started_at >= now - WEEK, _NAMED).distinct()
    before = Request.started_at.between(now - 2 * WEEK, now - WEEK)
    last_week = select(Request.app, Request.end_user).where(before, _NAMED).distinct()
    both = last_week.intersect(this_week).subquery()
    today = (Request.started_at >= now - DAY, _NAMED)
    async with engine.connect() as connection:
        came = await _count(connection, select(func.count()).select_from(last_week.subquery()))
        returned = await _count(connection, select(func.count()).select_from(both))
        person = distinct(Request.app + "\x1f" + Request.end_user)
        return BusinessFigures(
            conversations=await _count(
                connection, select(func.count()).select_from(Conversation).where(Conversation.created_at >= now - DAY)
            ),
            people=await _count(connection, select(func.count(person)).where(*today)),
            requests=await _count(connection, select(func.count()).select_from(Request).where(*today)),
            turns=await _count(
                connection, select(func.count()).select_from(Message).where(Message.said_at >= now - DAY)
            ),
            memories=await _count(connection, select(func.count()).select_from(Memory)),
            returned_ratio=returned / came if came else None,
        )


async def _count(connection: AsyncConnection, query: Select[int]) -> int:
    return int((await connection.execute(query)).scalar_one())


_NAMED = Request.end_user.is_not(None)
