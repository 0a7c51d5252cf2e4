"""The feed of a channel, which needs no key: its last fifteen videos, without durations.

`feeds/videos.xml?channel_id=`: Atom with YouTube's elements. Titles come from outside: they are cleaned here and
treated as data everywhere.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime

from agents.fence import flat
from agents.outside.http import OutsideHttp, ServiceFailed
from storage.media.videos import StoredVideo

BASE_URL = "https://www.youtube.com"
_ATOM = "{http://www.w3.org/2005/Atom}"
_YT = "{http://www.youtube.com/xml/schemas/2015}"


class Feeds:
    """A client of feeds.

    Args:
        http: of its address.
        now: the time, aware.

    """

    def __init__(self, http: OutsideHttp, now: Callable[[], datetime]) -> None:
        self._http = http
        self._now = now

    async def videos_of(self, channel: str) -> list[StoredVideo]:
        """The last videos of a channel; raises ServiceFailed."""
        return parse_feed(await self._http.get("/feeds/videos.xml", {"channel_id": channel}), channel, self._now())


def parse_feed(body: bytes, channel: str, fetched_at: datetime) -> list[StoredVideo]:
    """The videos of a feed without incomplete entries; raises ServiceFailed."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ServiceFailed("the feed declares entities")
    try:
        root = ET.fromstring(body)  # noqa: S314 - without declarations there is nothing that expands
    except ET.ParseError as failure:
        raise ServiceFailed("the feed is no XML") from failure
    found = (_video(entry, channel, fetched_at) for entry in root.iter(f"{_ATOM}entry"))
    return [video for video in found if video is not None]


def _video(entry: ET.Element, channel: str, fetched_at: datetime) -> StoredVideo | None:
    id_, title = entry.findtext(f"{_YT}videoId") or "", flat(entry.findtext(f"{_ATOM}title") or "")
    try:
        published = datetime.fromisoformat(entry.findtext(f"{_ATOM}published") or "")
    except ValueError:
        return None
    if len(id_) != 11 or not title or published.tzinfo is None:
        return None
    return StoredVideo(id_, channel, title, published.astimezone(UTC), fetched_at)
