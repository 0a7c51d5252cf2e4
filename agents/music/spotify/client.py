"""Spotify's Web API as far as playlists need it, as of 2026.

https://developer.spotify.com/documentation/web-api/references/changes/february-2026 - ten results a page, playlists'
entries at `/items` (each under `item`), playlists made at `/me/playlists` and removed at `/me/library`. Reads are
repeated after a 429; writes never are: `agents.music.spotify.mirror` first checks what happened. Ids and names that
come back are only compared with the wanted ones; by Spotify's policy (III.14) no model sees them.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.outside.http import OutsideHttp, ServiceFailed

API_URL, ACCOUNTS_URL = "https://api.spotify.com/v1", "https://accounts.spotify.com"
SCOPE = "playlist-read-private playlist-modify-private playlist-modify-public"
PAGE = 10
MAX_PAGES = 100
WRITE_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A track at Spotify."""

    uri: str
    title: str
    artists: Sequence[str]


class Spotify:
    """A client with a person's access token.

    Args:
        http: of its address.
        token: opens their account.

    """

    def __init__(self, http: OutsideHttp, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    async def account(self) -> str:
        """The owner of the account; raises ServiceFailed (status 403: not a registered user of the app)."""
        me = await self._http.get_json("/me", headers=self._headers)
        if not isinstance(me, dict) or not isinstance(me.get("id"), str):
            raise ServiceFailed("/me: no id")
        return str(me["id"])[:256]

    async def search(self, query: str) -> list[Found]:
        """At most ten tracks; raises ServiceFailed."""
        params = {"q": query, "type": "track", "limit": str(PAGE)}
        found = await self._http.get_json("/search", params, self._headers)
        items = (found.get("tracks") or {}).get("items") if isinstance(found, dict) else None
        tracks = [_track(item) for item in items or () if isinstance(item, dict)]
        return [track for track in tracks if track is not None]

    async def playlist_with(self, mark: str) -> str | None:
        """The id of their playlist whose description has this mark; None if there is none."""
        async for entry in self._pages("/me/playlists"):
            if mark in str(entry.get("description") or "") and isinstance(entry.get("id"), str):
                return str(entry["id"])
        return None

    async def create_playlist(self, name: str, description: str) -> str:
        """Create a private playlist; returns its id. Raises ServiceFailed."""
        body = {"name": name, "description": description, "public": False}
        made = await self._http.send("POST", "/me/playlists", json=body, headers=self._headers)
        if not isinstance(made, dict) or not isinstance(made.get("id"), str):
            raise ServiceFailed("/me/playlists: no id")
        return str(made["id"])

    async def uris_of(self, playlist: str) -> list[str]:
        """The tracks of a playlist; raises ServiceFailed (status 404: deleted)."""
        entries = [entry async for entry in self._pages(f"/playlists/{playlist}/items")]
        items = [entry.get("item") or {} for entry in entries]
        return [item["uri"] for item in items if isinstance(item.get("uri"), str)]

    async def add(self, playlist: str, uris: Sequence[str]) -> None:
        """Append these tracks; raises ServiceFailed."""
        for start in range(0, len(uris), WRITE_AT_ONCE):
            body = {"uris": list(uris[start : start + WRITE_AT_ONCE])}
            await self._http.send("POST", f"/playlists/{playlist}/items", json=body, headers=self._headers)

    async def remove(self, playlist: str, uris: Sequence[str]) -> None:
        """Remove these tracks; raises ServiceFailed."""
        for start in range(0, len(uris), WRITE_AT_ONCE):
            body = {"items": [{"uri": uri} for uri in uris[start : start + WRITE_AT_ONCE]]}
            await self._http.send("DELETE", f"/playlists/{playlist}/items", json=body, headers=self._headers)

    async def remove_playlist(self, playlist: str) -> None:
        """Remove the playlist from their library; raises ServiceFailed."""
        params = {"uris": f"spotify:playlist:{playlist}"}
        await self._http.send("DELETE", "/me/library", params=params, headers=self._headers)

    async def _pages(self, path: str) -> AsyncIterator[dict[str, Any]]:
        for page in range(MAX_PAGES):
            params = {"limit": str(PAGE), "offset": str(page * PAGE)}
            found = await self._http.get_json(path, params, self._headers)
            items = found.get("items") if isinstance(found, dict) else None
            if not isinstance(items, list):
                raise ServiceFailed(f"{path}: no items")
            for item in items:
                if isinstance(item, dict):
                    yield item
            if not found.get("next"):
                return


def _track(item: dict[str, Any]) -> Found | None:
    uri, title, artists = item.get("uri"), item.get("name"), item.get("artists")
    if not isinstance(uri, str) or not isinstance(title, str) or not isinstance(artists, list):
        return None
    return Found(uri, title, [str(each.get("name")) for each in artists if isinstance(each, dict)])
