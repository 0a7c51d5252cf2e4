"""/api/v1/stats, /api/v1/recommendations, /api/v1/genres: usage, prepared recommendations, and available genres.

Responses are cached (`cache.ttl_s`). A person's moods are only shown in their own statistics, with their consent.
"""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, JsonValue

from agents.music.catalogue import read_tracks
from agents.music.moods import mood_of
from agents.music.vocabulary import MAX_GENRES
from agents.video.channels import all_topics
from agents.video.tools import AGENT as VIDEO
from agents.video.tools import PREPARED
from memory.schemas import Accepted
from serving.cache.documents import EVERYBODY
from serving.routes import openapi
from serving.routes.body_limit import BoundedRoute
from serving.routes.memory.common import Access, MemoryAccess, User
from storage import stats
from storage.agents.states import StateKey
from storage.media.imported_tracks import SqlTracks
from storage.memory.owner import Owner

router = APIRouter(tags=["agents"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

Days = Annotated[int, Query(ge=1, le=400, description="number of days up to today, UTC")]


class Retention(BaseModel):
    """The share of new people who returned after so many days; null: there were none."""

    after_1_day: float | None
    after_7_days: float | None
    after_30_days: float | None


class Stats(BaseModel):
    """The usage of an application, or of one of its people.

    `conversations` are sessions, which end after half an hour of inactivity. For one person, `retention` and `people`
    are null, `kept_conversations` counts the conversations in memory, and `moods` is null without consent. `as_of` is
    when the values were counted.
    """

    object: Literal["stats"] = "stats"
    days: int
    as_of: datetime | None
    people: int | None
    conversations: int
    minutes: float
    requests: int
    active_days: int
    agents: dict[str, int]
    retention: Retention | None
    kept_conversations: int | None
    moods: dict[str, int] | None


class MoodConsent(Accepted):
    """Whether moods that a person mentioned may be counted in their statistics."""

    allowed: bool


@router.get("/api/v1/stats")
async def read(
    access: Access,
    user: User = None,
    days: Days = 30,
    of: Annotated[Literal["person", "app"], Query(description="one person, or the whole application")] = "person",
) -> Stats:
    """Return the usage; for an application, as last counted by the worker."""
    ttl_s = access.gateway.settings.cache.ttl_s.get("stats", 900.0)
    if of == "app":
        async with access.counted(None):
            owner = Owner(access.app, "")
            document = await access.gateway.cached.get(owner, f"stats:{days}", ttl_s, lambda: _of_app(access, days))
            return Stats.model_validate(document)
    async with access.about(user) as owner:
        document = await access.gateway.cached.get(
            owner, f"stats:{days}", ttl_s, lambda: _of_person(access, owner, days)
        )
        return Stats.model_validate(document)


@router.put("/api/v1/stats/moods")
async def consent(body: MoodConsent, access: Access, user: User = None) -> MoodConsent:
    """Set whether moods may be counted; by default they are not."""
    async with access.about(user) as owner:
        states, key = access.gateway.agents.states, _consent(owner)
        stored = await states.load(key)
        value = {"allowed": body.allowed, "at": access.gateway.now().isoformat()}
        await states.save(key, value, expected=0 if stored is None else stored.version)
        await access.gateway.cached.drop(owner)
    return body


class Recommended(BaseModel):
    """Recommendations that a job has prepared; `prepared_at` is null if there are none yet."""

    object: Literal["list"] = "list"
    prepared_at: datetime | None
    data: list[dict[str, JsonValue]]


@router.get("/api/v1/recommendations")
async def recommendations(access: Access, user: User = None) -> Recommended:
    """List the videos that the job `videos` has prepared, each with its reason."""
    ttl_s = access.gateway.settings.cache.ttl_s.get("recommendations", 1800.0)
    async with access.about(user) as owner:
        document = await access.gateway.cached.get(owner, "recommendations", ttl_s, lambda: _prepared(access, owner))
        return Recommended.model_validate(document)


class Genres(BaseModel):
    """Music genres and video topics that the agents know."""

    music: list[str]
    video: list[str]


@router.get("/api/v1/genres")
async def genres(access: Access) -> Genres:
    """List the available genres and topics."""
    ttl_s = access.gateway.settings.cache.ttl_s.get("genres", 86_400.0)
    async with access.counted(None):
        return Genres.model_validate(
            await access.gateway.cached.get(EVERYBODY, "genres", ttl_s, lambda: _genres(access))
        )


async def _genres(access: MemoryAccess) -> dict[str, Any]:
    imported = await SqlTracks(access.gateway.database).genres(limit=MAX_GENRES)
    music = sorted({*(track.genre for track in read_tracks() if track.genre), *imported})
    return {"music": music, "video": sorted(all_topics())}


async def _prepared(access: MemoryAccess, owner: Owner) -> dict[str, Any]:
    stored = await access.gateway.agents.states.load(StateKey(owner, VIDEO, "", PREPARED))
    if stored is None:
        return {"prepared_at": None, "data": []}
    shown = ("id", "title", "url", "why", "minutes")
    items = [{name: item[name] for name in shown if name in item} for item in stored.value["items"]]
    return {"prepared_at": stored.value["at"], "data": items}


async def _of_app(access: MemoryAccess, days: int) -> dict[str, Any]:
    since = access.gateway.now().astimezone(UTC).date() - timedelta(days=days - 1)
    rows = await stats.read_days(access.gateway.database, access.app, since - timedelta(days=max(stats.RETURNS)))
    recent = [row for row in rows if row["day"] >= since]
    agents: Counter[str] = sum((Counter(row["agents"]) for row in recent), Counter())
    new = {row["day"]: row["new_people"] for row in rows}

    def share(days_later: int) -> float | None:
        newcomers = sum(new.get(row["day"] - timedelta(days=days_later), 0) for row in recent)
        return round(sum(row[f"returned_{days_later}"] for row in recent) / newcomers, 3) if newcomers else None

    return _document(
        days,
        as_of=max((row["counted_at"] for row in recent), default=None),
        people=max((row["people"] for row in recent), default=0),
        conversations=sum(row["sessions"] for row in recent),
        minutes=sum(row["seconds"] for row in recent) / 60,
        requests=sum(row["requests"] for row in recent),
        active_days=len(recent),
        agents=dict(agents),
        retention={"after_1_day": share(1), "after_7_days": share(7), "after_30_days": share(30)},
    )


async def _of_person(access: MemoryAccess, owner: Owner, days: int) -> dict[str, Any]:
    database, now = access.gateway.database, access.gateway.now().astimezone(UTC)
    since = now.date() - timedelta(days=days - 1)
    begins = datetime.combine(since, time(), UTC)
    used = await stats.use_of(database, owner, since)
    stored = await access.gateway.agents.states.load(_consent(owner))
    moods: dict[str, int] | None = None
    if stored is not None and stored.value["allowed"]:
        moods = dict(Counter(mood_of(text) for text in await stats.feelings_of(database, owner, begins)))
    return _document(
        days,
        as_of=now,
        conversations=used.sessions,
        minutes=used.seconds / 60,
        requests=used.requests,
        active_days=len(used.days),
        agents=dict(used.agents),
        kept_conversations=await stats.conversations_of(database, owner, begins),
        moods=moods,
    )


def _document(days: int, *, as_of: datetime | None, minutes: float, **fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("people", "retention", "kept_conversations", "moods"))
    at = None if as_of is None else as_of.isoformat()
    return {**empty, **fields, "days": days, "as_of": at, "minutes": round(minutes, 1)}


def _consent(owner: Owner) -> StateKey:
    return StateKey(owner, "stats", "", "moods")
