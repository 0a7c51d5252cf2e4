"""Jobs of every kind with something to do, and running them in a process that may be killed at any step."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.inbox.box import save_settings
from agents.inbox.settings import InboxSettings
from agents.personality.profile import Personality, save_personality
from jobs import dispatch, runner
from jobs.config import JobsPlan, SummaryPlan
from jobs.handlers import handlers_of
from jobs.schedule import Schedules
from storage.agents.states import SqlStates, StateKey
from storage.database import open_engine
from storage.jobs import queue as jobs
from storage.media.playlists import SqlPlaylists
from storage.media.videos import SqlVideos, StoredVideo
from storage.memory.conversations import NewMessage, ingest
from storage.memory.memories import NewMemory, add_memory
from storage.memory.owner import Owner
from storage.memory.summaries import SummaryRules
from storage.quota import Bucket, SqlQuota
from storage.services.answers import SqlAnswers
from storage.tables import Request
from tests.support.memory.crash_steps import arm

ANN, BEN = Owner("app", "ann"), Owner("app", "ben")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
LONG_AGO = NOW - timedelta(days=40)
CHANNEL = "UCX6OQ3DkcsbYNE6H8uQQuVA"
KINDS = ("videos", "playlists", "expire_videos", "stats", "retention", "inbox", "personality", "summarise")
PLAN = JobsPlan(summaries=SummaryPlan(rules=SummaryRules(turns=2, newer=0)))


def request(number: int, user: str, at: datetime, model: str = "bondhu/chat") -> dict[str, Any]:
    """Return a row of the ledger."""
    numbers = dict.fromkeys(("tokens_reserved", "prompt_tokens", "cached_tokens", "completion_tokens"), 0)
    who = {"app": "app", "end_user": user, "key_id": "k", "class": "interactive"}
    what = {"endpoint": "/v1/chat/completions", "model_asked": model, "outcome": "ok", "segments": []}
    when = {"started_at": at, "day": at.date(), "latency_s": 60.0, "cost_microusd": 0}
    return {"id": f"r{number}", "request_id": f"r{number}", **who, **what, **numbers, **when}


async def prepare(engine: AsyncEngine) -> None:
    """Give Ann and Ben an old playlist, videos, and requests; and the service what is too old to be kept."""
    for owner in (ANN, BEN):
        playlists = SqlPlaylists(engine, lambda: LONG_AGO)
        items = [{"id": f"a{n}/b", "artist": f"a{n}", "title": "b", "year": 2000} for n in range(9)]
        await playlists.create(owner, key=f"of-{owner.user}", name="Mine", items=items, wanted={"moods": ["calm"]})
        shown = {"items": [{"id": "old00000000", "title": "Old", "url": "https://www.youtube.com/watch?v=old00000000"}]}
        await SqlStates(engine, lambda: NOW).save(StateKey(owner, "video", "c", "shown"), shown, expected=0)
        turns = [NewMessage(str(n), "user", f"I worry about my cat number {n}.", NOW) for n in range(2)]
        await ingest(engine, owner, "c", turns, now=NOW)
        exam = NewMemory("The exam.", "event", event_at=NOW + timedelta(hours=20))
        await add_memory(engine, owner, exam, now=LONG_AGO, id_="exam")
        states = SqlStates(engine, lambda: NOW)
        await save_settings(states, owner, InboxSettings(enabled=True))
        await save_personality(states, owner, Personality({1: 5}, reads_language=True))
    old = StoredVideo("old00000000", CHANNEL, "Old", LONG_AGO, LONG_AGO, 60)
    new = StoredVideo("new00000000", CHANNEL, "New", NOW, NOW, 60)
    await SqlVideos(engine, lambda: NOW).save([old, new])
    await SqlAnswers(engine, lambda: LONG_AGO).save("radio:jazz", [])
    await SqlQuota(engine, lambda: LONG_AGO - timedelta(days=9)).take(Bucket("b", 9))
    times = [("ann", NOW), ("ann", NOW + timedelta(minutes=5)), ("ben", NOW), ("ann", NOW - timedelta(days=1))]
    async with engine.begin() as connection:
        rows = [request(number, user, at) for number, (user, at) in enumerate(times)]
        await connection.execute(insert(Request), rows)


async def work(engine: AsyncEngine, kind: str, *, now: datetime = NOW) -> None:
    """Add what there is to do of a kind, and do all of it that is due."""
    handlers = {kind: handlers_of(PLAN)[kind]}
    owners = [jobs.SERVICE] if kind in ("expire_videos", "stats", "retention") else [ANN]
    for owner in owners:
        await jobs.add_job(engine, owner, kind, now=now, slot=now.date().isoformat())
    await go_on(engine, handlers, now=now)


async def go_on(engine: AsyncEngine, handlers: Mapping[str, runner.Handler], *, now: datetime) -> None:
    """Do all that is due."""
    sent: list[jobs.DueJob] = []
    await dispatch.send_due(engine, handlers, Schedules(), sent.append, now=now)
    for job in sent:
        await runner.run_job(engine, handlers, job.id, now=lambda: now, jitter=lambda: 0.0)


def run(url: str, kind: str, moment: int) -> None:
    """Do it on the database `url`; SIGKILL this process at this moment (from 0), if it comes."""
    asyncio.run(_run(url, kind, moment))


async def _run(url: str, kind: str, moment: int) -> None:
    engine = open_engine(url)
    arm(engine, moment)
    await work(engine, kind)
    await engine.dispose()


def today() -> date:
    """Return the day of NOW."""
    return NOW.date()
