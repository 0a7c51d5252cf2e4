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
    from agents.outside.options import ServiceOptions
    from agents.video.agent import VideoServices
    from jobs.kinds.inbox import Webhooks

AGENT_S = 120.0  # of a job that calls services outside


def handlers_of(
    plan: JobsPlan, extraction: Plan | None = None, webhooks: "Webhooks | None" = None
) -> Mapping[str, Handler]:
    """The handlers by kind; without a plan there is no extraction. `webhooks`: where inbox messages go, too."""

    async def inbox(job: JobRun) -> Any:
        from jobs.kinds.inbox import look_after

        return await look_after(job, webhooks)

    service_jobs = ServiceJobs(plan)
    handlers = {
        "videos": Handler(service_jobs.videos, AGENT_S, plan.max_attempts),
        "playlists": Handler(service_jobs.playlists, AGENT_S, plan.max_attempts),
        "inbox": Handler(inbox, AGENT_S, plan.max_attempts),
        "personality": Handler(_personality, max_attempts=plan.max_attempts),
        "history": Handler(service_jobs.history, AGENT_S, plan.max_attempts),
        "expire_videos": Handler(_expire_videos, max_attempts=plan.max_attempts),
        "stats": Handler(_stats, max_attempts=plan.max_attempts),
        "retention": Handler(_retention, max_attempts=plan.max_attempts),
    }
    if plan.summaries is not None:
        from jobs.kinds.summaries import summaries_handler

        handlers["summarise"] = summaries_handler(plan.summaries)
    if extraction is not None:
        from jobs.kinds.extraction import extraction_handler

        handlers["extract"] = extraction_handler(extraction)
    return handlers


class ServiceJobs:
    """The jobs that call external services; each opens its connections for itself.

    Args:
        plan: which services are on, and their keys.

    """

    def __init__(self, plan: JobsPlan) -> None:
        self._plan = plan

    async def videos(self, job: JobRun) -> Any:
        """Find a person's videos."""
        from jobs.kinds.videos import prepare_videos

        return await prepare_videos(job, self._open_videos)

    async def playlists(self, job: JobRun) -> Any:
        """Renew a person's playlists."""
        from jobs.kinds.playlists import renew_playlists

        return await renew_playlists(job, self._open_music)

    async def history(self, job: JobRun) -> Any:
        """Read what a person has listened to."""
        import aiohttp

        from agents.outside.options import history_services
        from jobs.kinds.history import read_history

        async with aiohttp.ClientSession() as session:
            return await read_history(job, history_services(self._options(), session, job.now))

    @asynccontextmanager
    async def _open_videos(self, job: JobRun) -> AsyncIterator["VideoServices"]:
        import aiohttp

        from agents.outside.options import video_services

        async with aiohttp.ClientSession() as session:
            yield video_services(self._options(), session, job.engine, job.now)

    @asynccontextmanager
    async def _open_music(self, job: JobRun) -> AsyncIterator["MusicServices"]:
        import aiohttp

        from agents.outside.options import music_services

        async with aiohttp.ClientSession() as session:
            yield music_services(self._options(), session, job.engine, job.now)

    def _options(self) -> "ServiceOptions":
        from agents.outside.options import ServiceOptions

        return ServiceOptions.read(self._plan.services, self._plan.service_keys)


async def _expire_videos(job: JobRun) -> Any:
    from jobs.kinds.youtube_data import expire_videos

    return await expire_videos(job)


async def _personality(job: JobRun) -> Any:
    from jobs.kinds.personality import read_language

    return await read_language(job)


async def _stats(job: JobRun) -> Any:
    from jobs.kinds.stats import count_stats

    return await count_stats(job)


async def _retention(job: JobRun) -> Any:
    from jobs.kinds.retention import delete_expired

    return await delete_expired(job)
