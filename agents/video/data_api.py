"""YouTube's Data API with a key: uploads of channels, search, and durations of videos, within the quota.

https://developers.google.com/youtube/v3 - `search.list` has a bucket of its own of 100 calls a day; the rest shares
10,000 units: `videos.list` with up to 50 ids costs 1, so does a page of `playlistItems.list`, with which the uploads of
a channel are read: its id with UU instead of UC. Days end at midnight Pacific. After a quota error of the service,
nothing is called before then.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from agents.fence import flat
from agents.outside.http import OutsideHttp, ServiceFailed
from storage.media.videos import StoredVideo
from storage.quota import Bucket, QuotaSpent, SqlQuota

BASE_URL = "https://www.googleapis.com/youtube/v3"
SEARCH = Bucket("youtube:search", 100)
UNITS = Bucket("youtube:units", 10_000)
_VIDEO, _CHANNEL = re.compile(r"[\w-]{11}"), re.compile(r"UC[\w-]{22}")
_QUOTA_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded"})
_DURATION = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?")


class DataApi:
    """A client of the Data API.

    Args:
        http: of its address.
        key: of the operator.
        quota: the ledger that chat and jobs share.
        now: the time, aware.
        region: ISO 3166 code; "": none.

    """

    def __init__(
        self, http: OutsideHttp, key: str, quota: SqlQuota, now: Callable[[], datetime], *, region: str = ""
    ) -> None:
        self._http = http
        self._key = key
        self._quota = quota
        self._now = now
        self._region = region

    async def search(self, words: str, *, language: str = "", limit: int = 15) -> list[StoredVideo]:
        """Videos that match a query, with durations; raises QuotaSpent, ServiceFailed.

        A search is one of a hundred a day: when only the durations cannot be had, what was found is not thrown away.
        """
        params = {"part": "snippet", "type": "video", "q": words, "maxResults": str(limit)}
        params |= {"safeSearch": "strict", "videoEmbeddable": "true"}
        params |= {"relevanceLanguage": language} if language else {}
        params |= {"regionCode": self._region} if self._region else {}
        found = [_found(item, self._now()) for item in await self._items(SEARCH, "/search", params)]
        videos = [video for video in found if video is not None]
        try:
            return await self.with_durations(videos)
        except ServiceFailed:
            return videos

    async def uploads(self, channel: str, *, limit: int = 15) -> list[StoredVideo]:
        """The last videos of a channel, with durations; raises QuotaSpent, ServiceFailed."""
        params = {"part": "snippet,contentDetails", "playlistId": "UU" + channel[2:], "maxResults": str(limit)}
        found = [_uploaded(item, channel, self._now()) for item in await self._items(UNITS, "/playlistItems", params)]
        videos = [video for video in found if video is not None]
        try:
            return await self.with_durations(videos)
        except ServiceFailed:
            return videos

    async def with_durations(self, videos: Sequence[StoredVideo]) -> list[StoredVideo]:
        """The videos with durations, as far as the quota allows, without deleted ones; raises ServiceFailed."""
        known: dict[str, int | None] = {}
        try:
            for start in range(0, len(videos), 50):
                ids = ",".join(video.id for video in videos[start : start + 50])
                items = await self._items(UNITS, "/videos", {"part": "contentDetails", "id": ids})
                known |= {item.get("id", ""): _seconds(item) for item in items}
        except QuotaSpent:
            return list(videos)
        return [
            StoredVideo(each.id, each.channel, each.title, each.published_at, each.fetched_at, known[each.id])
            for each in videos
            if each.id in known
        ]

    async def _items(self, bucket: Bucket, path: str, params: dict[str, str]) -> list[dict[str, Any]]:
        await self._quota.take(bucket)
        try:
            found = await self._http.get_json(path, params | {"key": self._key})
        except ServiceFailed as failure:
            if failure.reason in _QUOTA_REASONS:
                raise QuotaSpent(bucket.name, await self._quota.exhaust(bucket)) from failure
            raise
        items = found.get("items") if isinstance(found, dict) else None
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _found(item: dict[str, Any], fetched_at: datetime) -> StoredVideo | None:
    try:
        snippet = item["snippet"]
        published = datetime.fromisoformat(snippet["publishedAt"])
        id_, channel, title = item["id"]["videoId"], snippet["channelId"], flat(snippet["title"])
        if not _VIDEO.fullmatch(id_) or not _CHANNEL.fullmatch(channel) or published.tzinfo is None:
            return None
        return StoredVideo(id_, channel, title, published, fetched_at)
    except (KeyError, TypeError, ValueError):
        return None


def _uploaded(item: dict[str, Any], channel: str, fetched_at: datetime) -> StoredVideo | None:
    """A video of the uploads; None for a private one, which has no time of publication."""
    try:
        details = item["contentDetails"]
        published = datetime.fromisoformat(details["videoPublishedAt"])
        id_, title = details["videoId"], flat(item["snippet"]["title"])
        if not _VIDEO.fullmatch(id_) or published.tzinfo is None:
            return None
        return StoredVideo(id_, channel, title, published, fetched_at)
    except (KeyError, TypeError, ValueError):
        return None


def _seconds(item: dict[str, Any]) -> int | None:
    match = _DURATION.fullmatch(str(item.get("contentDetails", {}).get("duration", "")))
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
