"""Checks the external services: which are switched on, what is missing, which answer and which refuse.

Each gets one small read request, like an agent's, with the operator's key and no account. YouTube's costs one unit of
the daily quota.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import aiohttp

from agents.outside.http import OutsideHttp, ServiceFailed
from agents.outside.options import ServiceOptions
from agents.outside.vault import MIN_KEY

State = Literal["off", "missing", "ok", "refused", "unreachable"]
CHANNEL = "UCX6OQ3DkcsbYNE6H8uQQuVA"
TAGS = [("tag", "jazz"), ("operator", "OR"), ("pop_begin", "0"), ("pop_end", "100"), ("count", "1")]


@dataclass(frozen=True, slots=True)
class Checked:
    """The state of a service: `off` and how to switch it on, or what is wrong; `used_for` is its purpose."""

    name: str
    used_for: str
    state: State
    says: str


async def check_services(options: ServiceOptions, session: aiohttp.ClientSession) -> Sequence[Checked]:
    """Check all services, one after the other."""

    def http(url: str) -> OutsideHttp:
        return OutsideHttp(session, url, timeout_s=options.timeout_s, now=lambda: datetime.now(UTC))

    async def feeds() -> Any:
        return await http(options.feeds_url).get("/feeds/videos.xml", {"channel_id": CHANNEL})

    async def youtube() -> Any:
        params = {"part": "id", "id": "jNQXAC9IVRw", "key": options.youtube_key}
        return await http(options.youtube_url).get_json("/videos", params)

    async def radio() -> Any:
        return await http(options.listenbrainz_url).get_json("/1/lb-radio/tags", TAGS)

    async def musicbrainz() -> Any:
        params = {"query": 'artist:"Nina Simone"', "fmt": "json", "limit": "1"}
        return await http(options.musicbrainz_url).get_json("/ws/2/recording", params)

    async def lastfm() -> Any:
        params = {"method": "chart.gettopartists", "limit": "1", "format": "json", "api_key": options.lastfm_key}
        return await http(options.lastfm_url).get_json("/2.0/", params)

    async def spotify() -> Any:
        try:
            return await http(options.spotify_url).get_json("/me")
        except ServiceFailed as failure:
            if failure.status == 401:  # it works, and requires a person's token
                return None
            raise

    lastfm_off = (
        _off("set services.history: true")
        if not options.history
        else None
        if options.lastfm_key
        else _missing("LASTFM_API_KEY is not in the environment")
    )
    return [
        await _checked(
            "youtube feeds", "new videos of channels", _on(options.feeds, "set services.feeds: true"), feeds
        ),
        await _checked("youtube search", "videos by words", _on(options.youtube_key, "YOUTUBE_API_KEY"), youtube),
        await _checked(
            "listenbrainz radio", "songs by genre and mood", _on(options.radio, "set services.radio: true"), radio
        ),
        await _checked(
            "musicbrainz", "songs by artist", _on(options.musicbrainz, "set services.musicbrainz: true"), musicbrainz
        ),
        await _checked("listenbrainz history", "taste", _on(options.history, "set services.history: true"), radio),
        await _checked("lastfm history", "taste", lastfm_off, lastfm),
        await _checked("spotify", "playlists there", _spotify(options), spotify),
    ]


def _on(switch: object, how: str) -> tuple[State, str] | None:
    if switch:
        return None
    return _off(how if how.startswith("set") else f"put {how} into the environment")


def _off(how: str) -> tuple[State, str]:
    return "off", how


def _missing(what: str) -> tuple[State, str]:
    return "missing", what


def _spotify(options: ServiceOptions) -> tuple[State, str] | None:
    if not options.spotify_client_id:
        return _off("register an application with Spotify, and set services.spotify_client_id")
    if len(options.tokens_key) < MIN_KEY:
        return _missing(f"BONDHU_TOKENS_KEY, of at least {MIN_KEY} characters, is not in the environment")
    return None


async def _checked(
    name: str, used_for: str, is_off: tuple[State, str] | None, ask: Callable[[], Awaitable[Any]]
) -> Checked:
    if is_off is not None:
        return Checked(name, used_for, *is_off)
    try:
        await ask()
    except ServiceFailed as failure:
        state: State = "refused" if failure.status in (400, 401, 403, 429) else "unreachable"
        return Checked(name, used_for, state, str(failure))
    return Checked(name, used_for, "ok", "answers")
