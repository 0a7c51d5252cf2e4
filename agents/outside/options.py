"""Which services outside are used, as plain values; and the clients of those, made on a process' session.

Off is the default of each: then nothing is called. Both the gateway and the worker make theirs of the same values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.music.agent import MusicServices
from agents.music.listenbrainz import BASE_URL as LISTENBRAINZ_URL
from agents.music.listenbrainz import ListenBrainz
from agents.music.radio import CachedRadio
from agents.outside.http import OutsideHttp
from agents.video.agent import VideoServices
from agents.video.data_api import BASE_URL as YOUTUBE_URL
from agents.video.data_api import DataApi
from agents.video.feeds import BASE_URL as FEEDS_URL
from agents.video.feeds import Feeds
from storage.media.imported_tracks import SqlTracks
from storage.media.playlists import SqlPlaylists
from storage.media.videos import SqlVideos
from storage.quota import SqlQuota
from storage.services.answers import SqlAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """What is used, and where it is. `youtube_key` empty: no search."""

    feeds: bool = False
    feeds_url: str = FEEDS_URL
    youtube_key: str = ""
    youtube_url: str = YOUTUBE_URL
    region: str = ""
    radio: bool = False
    listenbrainz_url: str = LISTENBRAINZ_URL
    timeout_s: float = 5.0

    @classmethod
    def read(cls, values: Mapping[str, Any], keys: Mapping[str, str]) -> "ServiceOptions":
        """As `serving.config.services` writes them, with keys from the environment."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        return cls(**known, youtube_key=keys.get(YOUTUBE_KEY, ""))


YOUTUBE_KEY = "YOUTUBE_API_KEY"


def video_services(
    options: ServiceOptions, session: aiohttp.ClientSession, database: AsyncEngine, now: Callable[[], datetime]
) -> VideoServices:
    """What the agent for videos has."""
    api = None
    if options.youtube_key:
        http = OutsideHttp(session, options.youtube_url, timeout_s=options.timeout_s, now=now)
        quota = SqlQuota(database, now)
        api = DataApi(http, options.youtube_key, quota, now, region=options.region)
    of_channels = None
    if options.feeds:
        of_channels = Feeds(OutsideHttp(session, options.feeds_url, timeout_s=options.timeout_s, now=now), now)
    return VideoServices(SqlVideos(database, now), of_channels, api)


def music_services(
    options: ServiceOptions, session: aiohttp.ClientSession, database: AsyncEngine, now: Callable[[], datetime]
) -> MusicServices:
    """What the agent for music has."""
    radio = None
    if options.radio:
        http = OutsideHttp(session, options.listenbrainz_url, timeout_s=options.timeout_s, now=now)
        radio = CachedRadio(ListenBrainz(http), SqlAnswers(database, now), now)
    return MusicServices(SqlPlaylists(database, now), SqlTracks(database), radio)
