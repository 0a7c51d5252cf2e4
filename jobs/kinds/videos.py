"""Prepares videos for a person: it searches by taste in the background and stores the result until they ask.

Feeds are fetched before the job ends. That may happen twice without harm: the videos are shared and stored by id.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import cast

from agents.ranking.feedback import FeedbackBook
from agents.video.agent import VideoServices
from agents.video.channels import read_channels
from agents.video.finder import Finder
from agents.video.query import VideoQuery
from agents.video.tools import AGENT, PREPARED, prepared_of
from jobs.kinds.person import context_of
from jobs.runner import JobRun
from storage.agents.states import StateKey, StatesWithin
from storage.jobs.kinds import VideosParams
from storage.media.videos import SqlVideos

COUNT = 8

Open = Callable[[JobRun], AbstractAsyncContextManager[VideoServices]]


async def prepare_videos(job: JobRun, open_services: Open) -> int:
    """Find and store them; returns how many."""
    params = cast("VideosParams", job.params)
    context = await context_of(job)
    feedback = await FeedbackBook(AGENT, context).read()
    query = VideoQuery(
        topics=list(params.topics), languages=list(params.languages), minutes=params.minutes, count=COUNT
    )
    async with open_services(job) as services:
        videos = services.videos or SqlVideos(job.engine, job.now)
        finder = Finder(read_channels(), videos, services.feeds, services.api)
        await job.progress(1, 3)
        picks = await finder.find(query, feedback, context)
    await job.progress(2, 3)
    async with job.finishing({"videos": len(picks)}) as connection:
        key = StateKey(job.owner, AGENT, "", PREPARED)
        await StatesWithin(connection, job.now).replace(key, prepared_of(picks, at=job.now()))
    return len(picks)
