"""ListenBrainz radio by tags: recordings without an account.

https://listenbrainz.readthedocs.io/en/latest/users/api/recommendation.html - `/1/lb-radio/tags` returns recordings by
MBID, `/1/metadata/recording/` their names. Names come from outside: they are cleaned here and treated as data
everywhere.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from agents.fence import flat
from agents.music.catalogue import Track
from agents.outside.http import OutsideHttp, Params, ServiceFailed

BASE_URL = "https://api.listenbrainz.org"
MAX_RECORDINGS = 25  # whose names are requested in one call


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
