"""/api/v1/stats, /api/v1/recommendations, /api/v1/genres: what was used, what was prepared, what can be asked for.

Each is kept for a while (`cache.ttl_s`). What moods somebody had is told to nobody but in their own statistics, and
only after they said so.
"""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, JsonValue

from agents.music.catalogue import read_tracks
from agents.music.moods import mood_of
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
from storage.memory.owner import Owner

router = APIRouter(tags=["agents"], route_class=BoundedRoute, responses=openapi.MEMORY_RESPONSES)

Days = Annotated[int, Query(ge=1, le=400, description="up to today, UTC")]


class Retention(BaseModel):
    """Of those who came for the first time, the share that was there again so many days later; null: nobody to tell."""

    after_1_day: float | None
    after_7_days: float | None
    after_30_days: float | None


class Stats(BaseModel):
    """What an application's people used, or one of them.

    `conversations` are sessions, which a pause of half an hour ends. Of one person: `retention` and `people` are null;
    `kept_conversations` counts what memory keeps, `moods` is null without their consent. `as_of`: when it was counted.
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
    """Whether the moods that a person told of may be counted in their statistics."""

    allowed: bool


@router.get("/api/v1/stats")
async def read(
    access: Access,
    user: User = None,
    days: Days = 30,
    of: Annotated[Literal["person", "app"], Query(description="of one person, or of the whole application")] = "person",
) -> Stats:
    """What was used; of the application as the worker counted it last."""
    ttl_s = access.gateway.settings.cache.ttl_s.get("stats", 900.0)
    if of == "app":
        async with access.counted(None):
            owner = Owner(access.app, "")
            made = await access.gateway.cached.get(owner, f"stats:{days}", ttl_s, lambda: _of_app(access, days))
            return Stats.model_validate(made)
    async with access.about(user) as owner:
        made = await access.gateway.cached.get(owner, f"stats:{days}", ttl_s, lambda: _of_person(access, owner, days))
        return Stats.model_validate(made)


@router.put("/api/v1/stats/moods")
async def consent(body: MoodConsent, access: Access, user: User = None) -> MoodConsent:
    """Say whether moods may be counted; until then they are not."""
    async with access.about(user) as owner:
        states, key = access.gateway.agents.states, _consent(owner)
        kept = await states.load(key)
        given = {"allowed": body.allowed, "at": access.gateway.now().isoformat()}
        await states.save(key, given, expected=0 if kept is None else kept.version)
        await access.gateway.cached.drop(owner)
    return body


class Recommended(BaseModel):
    """What a job has prepared for the person; `prepared_at` null: nothing yet."""

    object: Literal["list"] = "list"
    prepared_at: datetime | None
    data: list[dict[str, JsonValue]]


@router.get("/api/v1/recommendations")
async def recommendations(access: Access, user: User = None) -> Recommended:
    """Videos that were prepared in the background (the job `videos`), each with why."""
    ttl_s = access.gateway.settings.cache.ttl_s.get("recommendations", 1800.0)
    async with access.about(user) as owner:
        made = await access.gateway.cached.get(owner, "recommendations", ttl_s, lambda: _prepared(access, owner))
        return Recommended.model_validate(made)


class Genres(BaseModel):
    """Genres of music and topics of videos that the agents know."""

    music: list[str]
    video: list[str]


@router.get("/api/v1/genres")
async def genres(access: Access) -> Genres:
    """What can be asked for."""
    ttl_s = access.gateway.settings.cache.ttl_s.get("genres", 86_400.0)
    async with access.counted(None):
        return Genres.model_validate(await access.gateway.cached.get(EVERYBODY, "genres", ttl_s, _genres))


async def _genres() -> dict[str, Any]:
    music = sorted({track.genre for track in read_tracks() if track.genre})
    return {"music": music, "video": sorted(all_topics())}


async def _prepared(access: MemoryAccess, owner: Owner) -> dict[str, Any]:
    kept = await access.gateway.agents.states.load(StateKey(owner, VIDEO, "", PREPARED))
    if kept is None:
        return {"prepared_at": None, "data": []}
    shown = ("id", "title", "url", "why", "minutes")
    items = [{name: item[name] for name in shown if name in item} for item in kept.value["items"]]
    return {"prepared_at": kept.value["at"], "data": items}


async def _of_app(access: MemoryAccess, days: int) -> dict[str, Any]:
    since = access.gateway.now().astimezone(UTC).date() - timedelta(days=days - 1)
    rows = await stats.read_days(access.gateway.database, access.app, since - timedelta(days=max(stats.RETURNS)))
    told = [row for row in rows if row["day"] >= since]
    agents: Counter[str] = sum((Counter(row["agents"]) for row in told), Counter())
    new = {row["day"]: row["new_people"] for row in rows}

    def share(after: int) -> float | None:
        began = sum(new.get(row["day"] - timedelta(days=after), 0) for row in told)
        return round(sum(row[f"returned_{after}"] for row in told) / began, 3) if began else None

    return _document(
        days,
        as_of=max((row["counted_at"] for row in told), default=None),
        people=max((row["people"] for row in told), default=0),
        conversations=sum(row["sessions"] for row in told),
        minutes=sum(row["seconds"] for row in told) / 60,
        requests=sum(row["requests"] for row in told),
        active_days=len(told),
        agents=dict(agents),
        retention={"after_1_day": share(1), "after_7_days": share(7), "after_30_days": share(30)},
    )


async def _of_person(access: MemoryAccess, owner: Owner, days: int) -> dict[str, Any]:
    database, now = access.gateway.database, access.gateway.now().astimezone(UTC)
    since = now.date() - timedelta(days=days - 1)
    begins = datetime.combine(since, time(), UTC)
    used = await stats.use_of(database, owner, since)
    kept = await access.gateway.agents.states.load(_consent(owner))
    moods: dict[str, int] | None = None
    if kept is not None and kept.value["allowed"]:
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


def _document(days: int, *, as_of: datetime | None, minutes: float, **others: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("people", "retention", "kept_conversations", "moods"))
    at = None if as_of is None else as_of.isoformat()
    return {**nothing, **others, "days": days, "as_of": at, "minutes": round(minutes, 1)}


def _consent(owner: Owner) -> StateKey:
    return StateKey(owner, "stats", "", "moods")
