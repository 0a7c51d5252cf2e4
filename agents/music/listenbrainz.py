"""ListenBrainz radio by tags and by artist: recordings without an account.

https://listenbrainz.readthedocs.io/en/latest/users/api/core.html - `/1/lb-radio/tags` returns recordings by MBID, and
`/1/lb-radio/artist/` lists of them by the MBID of the artist or of one that the same people hear;
`/1/metadata/recording/` has their names. Names come from outside: they are cleaned here and treated as data
everywhere.
"""

import uuid
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from agents.fence import flat
from agents.music.catalogue import Track
from agents.outside.http import OutsideHttp, Params, ServiceFailed

BASE_URL = "https://api.listenbrainz.org"
MAX_RECORDINGS = 25  # whose names are requested in one call
SIMILAR_ARTISTS, EACH = 8, 4  # of a radio by artist, and the recordings of each


class ListenBrainz:
    """A client of ListenBrainz.

    Args:
        http: of its address.

    """

    def __init__(self, http: OutsideHttp) -> None:
        self._http = http

    async def by_tags(self, tags: Sequence[str]) -> list[Track]:
        """Recordings with any of these tags; raises ServiceFailed."""
        params = [("tag", tag) for tag in tags]
        params += [("operator", "OR"), ("pop_begin", "0"), ("pop_end", "100"), ("count", str(MAX_RECORDINGS))]
        found = await self._json("/1/lb-radio/tags", params)
        return await self._tracks(_mbids(found if isinstance(found, list) else []), tags[0] if tags else "")

    async def by_artist(self, mbid: str) -> list[Track]:
        """Recordings of this artist and of those that the same people hear, in turn; raises ServiceFailed."""
        if not _is_mbid(mbid):
            return []
        params = {
            "mode": "easy",
            "max_similar_artists": str(SIMILAR_ARTISTS),
            "max_recordings_per_artist": str(EACH),
            "pop_begin": "0",
            "pop_end": "100",
        }
        found = await self._json(f"/1/lb-radio/artist/{mbid}", params)
        rows = [each for each in found.values() if isinstance(each, list)] if isinstance(found, dict) else []
        in_turn = [row for turn in zip_longest(*rows) for row in turn]
        return await self._tracks(_mbids(in_turn), "")

    async def _tracks(self, mbids: Sequence[str], genre: str) -> list[Track]:
        if not mbids:
            return []
        params = {"recording_mbids": ",".join(mbids[:MAX_RECORDINGS]), "inc": "artist release"}
        found = await self._json("/1/metadata/recording/", params)
        if not isinstance(found, dict):
            return []
        tracks = (_track(found.get(mbid), genre) for mbid in mbids)
        return [track for track in tracks if track is not None]

    async def _json(self, path: str, params: Params) -> Any:
        return await self._http.get_json(path, params)


def _mbids(rows: Sequence[Any]) -> list[str]:
    found = [row.get("recording_mbid") for row in rows if isinstance(row, dict)]
    return list(dict.fromkeys(each for each in found if isinstance(each, str) and _is_mbid(each)))


def _is_mbid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def _track(entry: Any, genre: str) -> Track | None:
    try:
        year = entry.get("release", {}).get("year") or 0
        return Track(
            artist=flat(entry["artist"]["name"]), title=flat(entry["recording"]["name"]), year=year, genre=genre
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # it has no names, or is not what the documentation says


__all__ = ["BASE_URL", "ListenBrainz", "ServiceFailed"]
