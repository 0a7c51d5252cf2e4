"""The 30-day rule of YouTube's terms: data from YouTube is fetched again or deleted before that age.

https://developers.google.com/youtube/terms/developer-policies (III.E.4). The data is in the videos of feeds and in the
video agent's documents about a person; of a video whose data is deleted, only the address remains.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from agents.video.tools import AGENT
from jobs.runner import JobRun
from storage.agents.states import StateKey, StatesWithin
from storage.agents.tables import AgentState
from storage.media.tables import FeedVideo
from storage.media.videos import MAX_AGE
from storage.memory.owner import Owner

NAMES = ("shown", "later", "prepared")
BEFORE = timedelta(days=1)  # the job runs every day, and may once not run
VIDEO = "/watch?v="


async def expire_videos(job: JobRun) -> int:
    """Delete expired data; returns how many videos. A feed that is needed again is fetched on demand."""
    old = job.now() - MAX_AGE + BEFORE
    async with job.engine.connect() as connection:
        videos = (await connection.execute(select(FeedVideo.id, FeedVideo.fetched_at))).all()
        documents = select(*AgentState.__table__.columns).where(AgentState.agent == AGENT, AgentState.name.in_(NAMES))
        rows = (await connection.execute(documents)).all()
    fresh = {id_ for id_, fetched_at in videos if fetched_at > old}
    kept = [(row, without_titles(row.value, fresh)) for row in rows]
    changed = [(row, value) for row, value in kept if value is not None]
    await job.progress(1, 2)
    gone = len(videos) - len(fresh)
    async with job.finishing({"videos": gone, "documents": len(changed)}) as connection:
        for row, value in changed:  # one that the person changes meanwhile is left for the next run
            key = StateKey(Owner(row.app, row.end_user), row.agent, row.conversation, row.name)
            await StatesWithin(connection, job.now).save(key, value, expected=row.version)
        await connection.execute(delete(FeedVideo).where(FeedVideo.fetched_at <= old))
    return gone


def without_titles(document: dict[str, Any], fresh: set[str]) -> dict[str, Any] | None:
    """The document with addresses instead of titles for videos not listed; None if nothing changes."""

    def is_old(item: dict[str, Any]) -> bool:
        return item.get("id") not in fresh and VIDEO in item.get("url", "") and item.get("title") != item["url"]

    items = document.get("items", [])
    if not any(is_old(item) for item in items):
        return None
    return {**document, "items": [item | {"title": item["url"]} if is_old(item) else item for item in items]}
