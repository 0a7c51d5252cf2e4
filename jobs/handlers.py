"""The registry of job handlers of a worker. Each kind is declared in `storage.jobs.kinds`.

The libraries of a kind are imported when its first job runs, so other workers do not load them.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jobs.config import JobsPlan, Plan
from jobs.runner import Handler, JobRun

if TYPE_CHECKING:
    from agents.music.agent import MusicServices
    from agents.video.agent import VideoServices

AGENT_S = 120.0  # of a job that calls services outside


def handlers_of(plan: JobsPlan, extraction: Plan | None = None) -> Mapping[str, Handler]:
    """The handlers by kind; without a plan there is no extraction."""

    async def videos(job: JobRun) -> Any:
        from jobs.kinds.videos import prepare_videos

        return await prepare_videos(job, opening_videos)

    async def playlists(job: JobRun) -> Any:
        from jobs.kinds.playlists import renew_playlists

        return await renew_playlists(job, opening_music)

    async def history(job: JobRun) -> Any:
        import aiohttp

        from agents.outside.options import ServiceOptions, history_services
        from jobs.kinds.history import read_history

        async with aiohttp.ClientSession() as session:
            options = ServiceOptions.read(plan.services, plan.service_keys)
            return await read_history(job, history_services(options, session, job.now))

    async def expire_videos(job: JobRun) -> Any:
        from jobs.kinds import youtube_data

        return await youtube_data.expire_videos(job)

    async def stats(job: JobRun) -> Any:
        from jobs.kinds.stats import count_stats

        return await count_stats(job)

    async def retention(job: JobRun) -> Any:
        from jobs.kinds.retention import delete_expired

        return await delete_expired(job)

    @asynccontextmanager
    async def opening_videos(job: JobRun) -> AsyncIterator["VideoServices"]:
        import aiohttp

        from agents.outside.options import ServiceOptions, video_services

        async with aiohttp.ClientSession() as session:
            options = ServiceOptions.read(plan.services, plan.service_keys)
            yield video_services(options, session, job.engine, job.now)

    @asynccontextmanager
    async def opening_music(job: JobRun) -> AsyncIterator["MusicServices"]:
        import aiohttp

        from agents.outside.options import ServiceOptions, music_services

        async with aiohttp.ClientSession() as session:
            options = ServiceOptions.read(plan.services, plan.service_keys)
            yield music_services(options, session, job.engine, job.now)

    found = {
        "videos": Handler(videos, AGENT_S, plan.max_attempts),
        "playlists": Handler(playlists, AGENT_S, plan.max_attempts),
        "history": Handler(history, AGENT_S, plan.max_attempts),
        "expire_videos": Handler(expire_videos, max_attempts=plan.max_attempts),
        "stats": Handler(stats, max_attempts=plan.max_attempts),
        "retention": Handler(retention, max_attempts=plan.max_attempts),
    }
    if extraction is not None:
        from jobs.kinds.extraction import extraction_handler

        found["extract"] = extraction_handler(extraction)
    return found
