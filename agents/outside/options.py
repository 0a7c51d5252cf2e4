"""The options of external services as plain values, and their clients.

Every service is off by default, and then never called. The gateway and the worker use the same options.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.music.agent import MusicServices
from agents.music.catalogue import Track
from agents.music.history import LASTFM_URL, History, LastFmHistory, ListenBrainzHistory
from agents.music.listenbrainz import BASE_URL as LISTENBRAINZ_URL
from agents.music.listenbrainz import ListenBrainz
from agents.music.musicbrainz import BASE_URL as MUSICBRAINZ_URL
from agents.music.musicbrainz import MusicBrainz
from agents.music.radio import CachedRadio
from agents.music.spotify.client import ACCOUNTS_URL, SCOPE, Spotify
from agents.music.spotify.client import API_URL as SPOTIFY_URL
from agents.music.spotify.mirror import SERVICE, SpotifyMirror
from agents.outside.http import OutsideHttp
from agents.outside.tokens import OAuthClient, Tokens
from agents.outside.vault import Vault
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
from storage.services.links import SqlLinks
from storage.services.remote_playlists import SqlRemotes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """Which services are on, and their URLs. Without `youtube_key` there is no search."""

    feeds: bool = False
    feeds_url: str = FEEDS_URL
    youtube_key: str = ""
    youtube_url: str = YOUTUBE_URL
    region: str = ""
    radio: bool = False
    listenbrainz_url: str = LISTENBRAINZ_URL
    musicbrainz: bool = False
    musicbrainz_url: str = MUSICBRAINZ_URL
    timeout_s: float = 5.0
    history: bool = False
    lastfm_url: str = LASTFM_URL
    lastfm_key: str = ""
    spotify_client_id: str = ""
    spotify_redirect_uri: str = "http://127.0.0.1:8000/api/v1/services/spotify/callback"
    spotify_url: str = SPOTIFY_URL
    spotify_accounts_url: str = ACCOUNTS_URL
    tokens_key: str = ""

    @classmethod
    def read(cls, values: Mapping[str, Any], keys: Mapping[str, str]) -> "ServiceOptions":
        """The options from the settings (`serving.config.schema`), with keys from the environment."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        secret: dict[str, Any] = {name: keys.get(variable, "") for name, variable in KEYS.items()}
        return cls(**known, **secret)


KEYS = {"youtube_key": "YOUTUBE_API_KEY", "lastfm_key": "LASTFM_API_KEY", "tokens_key": "BONDHU_TOKENS_KEY"}


def video_services(
    options: ServiceOptions, session: aiohttp.ClientSession, database: AsyncEngine, now: Callable[[], datetime]
) -> VideoServices:
    """The services of the video agent."""
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
    """The services of the music agent."""
    radio = artists = similar = None
    answers = SqlAnswers(database, now)
    if options.radio:
        http = OutsideHttp(session, options.listenbrainz_url, timeout_s=options.timeout_s, now=now)
        listenbrainz = ListenBrainz(http)
        radio = CachedRadio(listenbrainz.by_tags, answers, now)
    if options.musicbrainz:
        http = OutsideHttp(session, options.musicbrainz_url, timeout_s=options.timeout_s, now=now)
        musicbrainz = MusicBrainz(http)
        artists = CachedRadio(musicbrainz.by_artists, answers, now, "musicbrainz")
    if options.radio and options.musicbrainz:  # the radio knows artists by MusicBrainz' ids

        async def like(names: Sequence[str]) -> list[Track]:
            return await listenbrainz.by_artist(await musicbrainz.artist_id(names[0]))

        similar = CachedRadio(like, answers, now, "artist radio")
    spotify = None
    tokens = spotify_tokens(options, session, database, now)
    if tokens is not None:
        http = OutsideHttp(session, options.spotify_url, timeout_s=options.timeout_s, now=now)
        spotify = SpotifyMirror(http, tokens, SqlRemotes(database, now))
    return MusicServices(SqlPlaylists(database, now), SqlTracks(database), radio, spotify, artists, similar)


def spotify_tokens(
    options: ServiceOptions, session: aiohttp.ClientSession, database: AsyncEngine, now: Callable[[], datetime]
) -> Tokens | None:
    """Access to Spotify accounts; None without a client id, or without a key that encrypts tokens."""
    if not options.spotify_client_id or not options.tokens_key:
        return None
    api = OutsideHttp(session, options.spotify_url, timeout_s=options.timeout_s, now=now)
    accounts = OutsideHttp(session, options.spotify_accounts_url, timeout_s=options.timeout_s, now=now)
    client = OAuthClient(
        SERVICE,
        options.spotify_client_id,
        options.spotify_redirect_uri,
        f"{options.spotify_accounts_url}/authorize",
        SCOPE,
    )

    async def account_of(token: str) -> str:
        return await Spotify(api, token).account()

    return Tokens(client, accounts, SqlLinks(database, now), Vault(options.tokens_key), now, account_of)


def history_services(
    options: ServiceOptions, session: aiohttp.ClientSession, now: Callable[[], datetime]
) -> dict[str, History]:
    """The services from which listening histories are read, by account name."""
    if not options.history:
        return {}
    http = OutsideHttp(session, options.listenbrainz_url, timeout_s=options.timeout_s, now=now)
    found: dict[str, History] = {"listenbrainz": ListenBrainzHistory(http)}
    if options.lastfm_key:
        http = OutsideHttp(session, options.lastfm_url, timeout_s=options.timeout_s, now=now)
        found["lastfm"] = LastFmHistory(http, options.lastfm_key)
    return found
