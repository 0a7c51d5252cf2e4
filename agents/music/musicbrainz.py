"""An artist and their recordings by MusicBrainz' search, without an account; with ISRCs, by which Spotify finds them.

https://musicbrainz.org/doc/MusicBrainz_API - `/ws/2/recording` and `/ws/2/artist` with a query; at most one request a
second, and a User-Agent that says who asks. Live and other versions have a comment in `disambiguation` and are left
out. Names come from outside: they are cleaned here and treated as data everywhere.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic import ValidationError

from agents.fence import flat
from agents.music.catalogue import Track, normal
from agents.outside.http import OutsideHttp

BASE_URL = "https://musicbrainz.org"
MAX_RECORDINGS = 50
MAX_ARTISTS = 5
APART_S = 1.1  # between two requests
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}\d{7}")


class MusicBrainz:
    """A client of MusicBrainz.

    Args:
        http: of its address.
        clock: monotonic seconds.
        sleep: waits.

    """

    def __init__(
        self,
        http: OutsideHttp,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._asked = float("-inf")

    async def by_artists(self, names: Sequence[str]) -> list[Track]:
        """Recordings of the first of these artists, each under that name; raises ServiceFailed."""
        if not names:
            return []
        query = f"{_phrase(names[0])} AND status:official AND video:false"
        rows = await self._search("recording", query, MAX_RECORDINGS)
        tracks = [_track(row, names[0]) for row in rows]
        return list({track.id: track for track in reversed(tracks) if track is not None}.values())[::-1]

    async def artist_id(self, name: str) -> str:
        """The MBID of the artist of this name; "" if there is none, or if it is not clear who. Raises ServiceFailed."""
        rows = await self._search("artist", _phrase(name), MAX_ARTISTS)
        named = [row for row in rows if isinstance(row, dict) and normal(str(row.get("name"))) == normal(name)]
        scores = [row.get("score") for row in named]
        is_clear = bool(named) and scores.count(scores[0]) == 1
        return str(named[0].get("id", "")) if is_clear else ""

    async def _search(self, what: str, query: str, limit: int) -> list[Any]:
        params = {"query": query, "fmt": "json", "limit": str(limit)}
        async with self._turn:
            await self._sleep(max(self._asked + APART_S - self._clock(), 0.0))
            self._asked = self._clock()
            found = await self._http.get_json(f"/ws/2/{what}", params)
        rows = found.get(f"{what}s") if isinstance(found, dict) else None
        return rows if isinstance(rows, list) else []


def _phrase(name: str) -> str:
    """A name as a phrase of a query, whatever is in it."""
    phrase = re.sub(r'["\\]', " ", name)
    return f'artist:"{phrase}"'


def _track(row: Any, artist: str) -> Track | None:
    """A recording by this artist alone; None for any other."""
    try:
        [credit] = row["artist-credit"]
        if row.get("disambiguation") or normal(credit["name"]) != normal(artist):
            return None
        isrcs = [each for each in row.get("isrcs") or () if isinstance(each, str) and _ISRC.fullmatch(each)]
        year = str(row.get("first-release-date") or "")[:4]
        return Track(
            artist=artist,
            title=flat(row["title"]),
            year=int(year) if year.isdecimal() else 0,
            isrc=isrcs[0] if isrcs else "",
        )
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError):
        return None  # it is not what the documentation says


__all__ = ["BASE_URL", "MusicBrainz"]
