"""Finds videos for a person: channels by topic and language, what they published last, a search, ranking.

Feeds come first; with a key, the uploads of a channel whose feed is not there, and a search where channels have too few
that the person has not seen, as a day has only a hundred searches for everyone. What was fetched within REFRESH_AFTER
is not fetched again. If a service is down or a quota is used up, older results are marked as stale; without any, the
channels themselves are recommended. So there is always an answer.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from agents.base import RunContext
from agents.budget import LimitReached
from agents.outside.http import ServiceFailed
from agents.personality.use import lambda_for
from agents.ranking.candidate import Candidate
from agents.ranking.feedback import Feedback
from agents.ranking.rank import rank
from agents.ranking.taste import Taste
from agents.video.channels import Channel
from agents.video.data_api import DataApi
from agents.video.feeds import Feeds
from agents.video.query import VideoQuery
from storage.media.videos import StoredVideo
from storage.quota import QuotaSpent

log = logging.getLogger(__name__)
REFRESH_AFTER = timedelta(hours=6)
MAX_FEEDS = 6  # fetched for one answer
NEW_DAYS = 14.0
TOO_LONG = 1.15  # of the time that there is


class Videos(Protocol):
    """Stores the videos from feeds (`storage.media.videos`)."""

    async def save(self, videos: Sequence[StoredVideo]) -> None:
        """Store videos that were just fetched."""

    async def of_channels(self, channels: Collection[str]) -> list[StoredVideo]:
        """The stored videos of these channels."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A video, or a channel (`video` is None), and the reason; `is_stale`: it could not be refreshed."""

    channel: Channel
    video: StoredVideo | None
    why: str
    is_stale: bool = False

    @property
    def id(self) -> str:
        """The id of the recommendation."""
        return self.channel.id if self.video is None else self.video.id


class Finder:
    """Finds and ranks videos.

    Args:
        channels: the bundled ones.
        videos: stores fetched videos.
        feeds: the client of channel feeds; None: no feeds.
        api: the client of the Data API; None without a key.

    """

    def __init__(
        self, channels: Sequence[Channel], videos: Videos, feeds: Feeds | None = None, api: DataApi | None = None
    ) -> None:
        self.channels = channels
        self._videos = videos
        self._feeds = feeds
        self._api = api

    async def find(self, query: VideoQuery, feedback: Feedback, context: RunContext) -> list[Pick]:
        """The best videos for the person; fewer than requested if there are not enough."""
        channels = self._channels(query, feedback, context)
        by_id = {channel.id: channel for channel in channels}
        fetched = await self._refresh(channels, context)
        found = await self._videos.of_channels(by_id)
        searched = [] if _is_enough(found, by_id, query, feedback) else await self._search(query, context)
        for video in searched:
            by_id.setdefault(video.channel, _unknown_channel(video, query))
        videos = {video.id: video for video in [*found, *searched]}
        if not videos:
            return [Pick(each, None, _why(each, None, query, ())) for each in channels[: query.count]]
        stale_before = context.now() - REFRESH_AFTER
        candidates = [
            Candidate(
                id_, each.channel, features_of(by_id[each.channel]), _fit(each, by_id[each.channel], query, context)
            )
            for id_, each in videos.items()
            if _fits_time(each, by_id[each.channel], query)
        ]
        new = [each for each in candidates if each.id not in feedback.shown]
        ranked = rank(
            new or candidates,  # what was shown comes again when there is nothing else
            Taste(feedback.signals, context.now()),
            context.rng,
            limit=query.count,
            not_items=feedback.blocked_items,
            not_groups=feedback.blocked_groups,
            lambda_=await lambda_for(context),
        )
        picks = []
        for each in ranked:
            video = videos[each.candidate.id]
            channel = by_id[video.channel]
            is_stale = video.fetched_at < stale_before and video.channel not in fetched
            picks.append(Pick(channel, video, _why(channel, video, query, each.liked), is_stale))
        return picks

    def _channels(self, query: VideoQuery, feedback: Feedback, context: RunContext) -> list[Channel]:
        """The channels that match the query, ordered by match and taste."""
        languages, topics = set(query.languages), set(query.topics)
        fits = [each for each in self.channels if not languages or each.language in languages]
        fits = [each for each in fits if not topics or topics & set(each.topics.split())] or fits
        in_time = [each for each in fits if not query.minutes or each.minutes <= query.minutes * TOO_LONG]
        candidates = [
            Candidate(each.id, each.id, features_of(each), 0.5 * len(topics & set(each.topics.split())))
            for each in in_time or fits
        ]
        taste = Taste(feedback.signals, context.now())
        ranked = rank(candidates, taste, context.rng, limit=3 * MAX_FEEDS, not_groups=feedback.blocked_groups)
        by_id = {each.id: each for each in self.channels}
        return [by_id[each.candidate.id] for each in ranked]

    async def _refresh(self, channels: Sequence[Channel], context: RunContext) -> set[str]:
        """Fetch what is outdated within the run's limits; returns the channels that are fresh afterwards."""
        if self._feeds is None and self._api is None:
            return set()
        fresh_after = context.now() - REFRESH_AFTER
        known = await self._videos.of_channels([channel.id for channel in channels])
        fresh = {video.channel for video in known if video.fetched_at > fresh_after}
        old: list[str] = []
        for channel in channels[:MAX_FEEDS]:
            if channel.id in fresh:
                continue
            try:
                context.budget.take_outside_call()
            except LimitReached:
                break
            old.append(channel.id)
        results = await asyncio.gather(*(self._fetch(id_) for id_ in old))
        await self._videos.save([video for videos in results for video in videos or ()])
        fetched = {id_ for id_, videos in zip(old, results, strict=True) if videos is not None}
        return fresh | fetched

    async def _fetch(self, channel: str) -> list[StoredVideo] | None:
        """The last videos of a channel; None: neither its feed nor its uploads can be had."""
        if self._feeds is not None:
            try:
                found = await self._feeds.videos_of(channel)
                return await self._api.with_durations(found) if self._api is not None and found else found
            except ServiceFailed as failure:
                log.info("no feed of %s: %s", channel, failure)
        if self._api is not None:
            try:
                return await self._api.uploads(channel)
            except (QuotaSpent, ServiceFailed) as failure:
                log.info("no uploads of %s: %s", channel, failure)
        return None

    async def _search(self, query: VideoQuery, context: RunContext) -> list[StoredVideo]:
        if self._api is None or not query.topics:
            return []
        language = query.languages[0] if query.languages else ""
        try:
            context.budget.take_outside_call()
            found = await self._api.search(" ".join(query.topics), language=language)
        except (LimitReached, QuotaSpent, ServiceFailed) as failure:
            log.info("no search: %s", failure)
            return []
        await self._videos.save(found)
        return found


def _is_enough(
    videos: Sequence[StoredVideo], channels: Mapping[str, Channel], query: VideoQuery, feedback: Feedback
) -> bool:
    """Whether there are as many as are wanted, about a wanted topic, in time, and new to the person."""
    topics = set(query.topics)
    fitting = [
        each
        for each in videos
        if topics & set(channels[each.channel].topics.split())
        and _fits_time(each, channels[each.channel], query)
        and each.id not in feedback.shown
        and each.id not in feedback.blocked_items
        and each.channel not in feedback.blocked_groups
    ]
    return len(fitting) >= query.count


def features_of(channel: Channel) -> dict[str, float]:
    """The features from which taste is learned."""
    topics = {f"topic:{topic}": 1.0 for topic in channel.topics.split()}
    length = "short" if channel.minutes <= 8 else "medium" if channel.minutes <= 20 else "long"
    return {
        **topics,
        f"channel:{channel.title}": 0.7,
        f"language:{channel.language}": 0.7,
        f"length:{length}": 0.5,
    }


def minutes_of(video: StoredVideo | None, channel: Channel) -> tuple[int, bool]:
    """The duration, and whether it is known rather than typical of the channel."""
    if video is None or video.duration_s is None:
        return channel.minutes, False
    return max(round(video.duration_s / 60), 1), True


def _fits_time(video: StoredVideo, channel: Channel, query: VideoQuery) -> bool:
    return not query.minutes or minutes_of(video, channel)[0] <= query.minutes * TOO_LONG


def _fit(video: StoredVideo, channel: Channel, query: VideoQuery, context: RunContext) -> float:
    topics = set(query.topics)
    about = len(topics & set(channel.topics.split())) / len(topics) if topics else 0.0
    age_days = max((context.now() - video.published_at).total_seconds() / 86400, 0.0)
    return 0.7 * about + 0.3 * float(0.5 ** (age_days / NEW_DAYS))


def _why(channel: Channel, video: StoredVideo | None, query: VideoQuery, liked: Sequence[str]) -> str:
    topics = [topic for topic in channel.topics.split() if topic in query.topics]
    reasons = [f"it is about {' and '.join(topics)}"] if topics else []
    if query.minutes:
        minutes, is_known = minutes_of(video, channel)
        reasons.append(f"it takes {minutes} min" if is_known else f"theirs usually take about {minutes} min")
    likes = [value for kind, _, value in (name.partition(":") for name in liked) if kind in ("topic", "channel")]
    if likes:
        reasons.append(f"you like {' and '.join(likes[:2])}")
    return ", and ".join(reasons) if reasons else f"{channel.title} is about {channel.topics.replace(' ', ' and ')}"


def _unknown_channel(video: StoredVideo, query: VideoQuery) -> Channel:
    """A channel that only a search returned."""
    return Channel(
        id=video.channel,
        title="YouTube",
        language=query.languages[0] if query.languages else "en",
        topics=" ".join(query.topics) or "explainers",
        minutes=max((video.duration_s or 600) // 60, 1),
        source="search",
    )
