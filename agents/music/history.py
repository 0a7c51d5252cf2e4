"""A person's listening history, by the name of their account at ListenBrainz or Last.fm: public, without a token.

https://listenbrainz.readthedocs.io/en/latest/users/api/core.html (`/1/user/{name}/listens`),
https://www.last.fm/api/show/user.getRecentTracks. All listens to one artist make one signal, and only a few artists
count: what a person says and rates matters more than what was playing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from agents.fence import flat
from agents.music.catalogue import features_of, normal, read_tracks
from agents.outside.http import OutsideHttp, ServiceFailed
from agents.ranking.taste import Signal

LASTFM_URL = "https://ws.audioscrobbler.com"
PAGE = 100
MAX_ARTISTS = 30
REWARD = 0.2  # of one listen; of many at most three times that


@dataclass(frozen=True, slots=True)
class Listen:
    """A song that the person listened to."""

    artist: str
    title: str
    at: datetime


class History(Protocol):
    """Reads the listening history of an account."""

    async def since(self, account: str, since: datetime | None) -> list[Listen]:
        """The latest listens after that time, at most PAGE; raises ServiceFailed (status 404: no such account)."""


class ListenBrainzHistory:
    """The history at ListenBrainz; see `History`."""

    def __init__(self, http: OutsideHttp) -> None:
        self._http = http

    async def since(self, account: str, since: datetime | None) -> list[Listen]:
        """See `History.since`."""
        params = {"count": str(PAGE)} | ({} if since is None else {"min_ts": str(int(since.timestamp()))})
        found = await self._http.get_json(f"/1/user/{quote(account, safe='')}/listens", params)
        try:
            rows = found["payload"]["listens"]
            names = [(each["track_metadata"], each["listened_at"]) for each in rows]
            return _listens([(data["artist_name"], data["track_name"], at) for data, at in names])
        except (KeyError, TypeError) as failure:
            raise ServiceFailed("listens: not as documented") from failure


class LastFmHistory:
    """The history at Last.fm; see `History`."""

    def __init__(self, http: OutsideHttp, key: str) -> None:
        self._http = http
        self._key = key

    async def since(self, account: str, since: datetime | None) -> list[Listen]:
        """See `History.since`."""
        params = {"method": "user.getrecenttracks", "user": account, "api_key": self._key, "format": "json"}
        params |= {"limit": str(PAGE)} | ({} if since is None else {"from": str(int(since.timestamp()) + 1)})
        found = await self._http.get_json("/2.0/", params)
        try:
            rows = found["recenttracks"]["track"]
            rows = [rows] if isinstance(rows, dict) else rows
            finished = [each for each in rows if "date" in each]  # one that is just playing has none
            return _listens([(each["artist"]["#text"], each["name"], each["date"]["uts"]) for each in finished])
        except (KeyError, TypeError) as failure:
            raise ServiceFailed("recenttracks: not as documented") from failure


def signals_of(listens: Sequence[Listen], *, source: str) -> list[Signal]:
    """Taste signals from listens, by artist; features come from the artist's catalogue entries, if any."""
    counts = Counter(listen.artist for listen in listens)
    signals = []
    for artist, count in counts.most_common(MAX_ARTISTS):
        known = [track for track in read_tracks() if normal(track.artist) == normal(artist)]
        features = dict(features_of(known[0])) if known else {f"artist:{artist}": 0.7}
        last = max(listen.at for listen in listens if listen.artist == artist)
        reward = min(REWARD * (1 + math.log2(count)), 3 * REWARD)
        signals.append(Signal(f"heard:{source}:{normal(artist)}"[:200], features, reward, last))
    return signals


def _listens(rows: Sequence[tuple[Any, Any, Any]]) -> list[Listen]:
    found = []
    for artist, title, at in rows:
        try:
            found.append(Listen(flat(str(artist))[:200], flat(str(title))[:200], datetime.fromtimestamp(int(at), UTC)))
        except (ValueError, OverflowError, OSError):
            continue
    return [listen for listen in found if listen.artist]
