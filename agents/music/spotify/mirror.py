"""Puts a person's playlists on Spotify: creates each once, changes it by difference, removes it.

Every attempt first reads the playlist, so a write whose answer was lost is not repeated: a playlist has a mark in its
description, which is stored before the playlist is created. Songs that the person added there are left alone. A song
is found by its ISRC, if it has one, otherwise by its normalised names; a song that is not found is left out and
counted.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.music.catalogue import normal
from agents.music.spotify.client import Spotify
from agents.outside.http import OutsideHttp, ServiceFailed
from agents.outside.tokens import Tokens
from storage.media.playlists import StoredPlaylist
from storage.memory.owner import Owner
from storage.services.remote_playlists import SqlRemotes

SERVICE = "spotify"
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pushed:
    """The changes made at Spotify; `is_new`: the playlist was created."""

    added: int
    removed: int
    unresolved: int
    is_new: bool


class SpotifyMirror:
    """Puts playlists on Spotify.

    Args:
        http: of the Web API.
        tokens: the access tokens of all people.
        remotes: records which playlists are on Spotify.

    """

    def __init__(self, http: OutsideHttp, tokens: Tokens, remotes: SqlRemotes) -> None:
        self._http = http
        self._tokens = tokens
        self._remotes = remotes

    async def is_there(self, owner: Owner, playlist: str) -> bool:
        """Whether the playlist is also on Spotify."""
        return await self._remotes.find(owner, SERVICE, playlist) is not None

    async def push(
        self, owner: Owner, playlist: StoredPlaylist, removed: Sequence[Item] = (), *, key: str = ""
    ) -> Pushed:
        """Bring the playlist at Spotify up to date, without the `removed` songs; raises ServiceFailed, NotLinked.

        `key` is the effect's key; with it, a retry finds the playlist that an earlier attempt created.
        """
        spotify = Spotify(self._http, await self._tokens.access(owner))
        mark = hashlib.sha256(f"{owner.app} {owner.user} {key}".encode()).hexdigest()[:16]
        remote = await self._remotes.begin(owner, SERVICE, playlist.id, mark)
        is_new = remote.mark == mark
        id_ = remote.remote_id or await self._made(spotify, playlist.name, remote.mark)
        await self._remotes.made(owner, SERVICE, playlist.id, id_)
        there = await spotify.uris_of(id_)
        uris = [await self._resolve(spotify, item) for item in playlist.items]
        gone = [await self._resolve(spotify, item) for item in removed]
        add = [uri for uri in dict.fromkeys(uris) if uri is not None and uri not in there]
        remove = [uri for uri in dict.fromkeys(gone) if uri in there and uri not in uris and uri is not None]
        if add:
            await self._write(spotify.add(id_, add), spotify, id_, has=add)
        if remove:
            await self._write(spotify.remove(id_, remove), spotify, id_, has_not=remove)
        unresolved = uris.count(None)
        await self._remotes.note_unresolved(owner, SERVICE, playlist.id, unresolved)
        return Pushed(len(add), len(remove), unresolved, is_new)

    async def remove(self, owner: Owner, playlist: str) -> None:
        """Remove the playlist from Spotify; raises ServiceFailed, NotLinked."""
        remote = await self._remotes.find(owner, SERVICE, playlist)
        if remote is None:
            return
        if remote.remote_id is not None:
            spotify = Spotify(self._http, await self._tokens.access(owner))
            try:
                await spotify.remove_playlist(remote.remote_id)
            except ServiceFailed as failure:
                if failure.status != 404:
                    raise
        await self._remotes.forget(owner, SERVICE, playlist)

    async def _made(self, spotify: Spotify, name: str, mark: str) -> str:
        """The playlist with this mark, created unless an earlier attempt did."""
        there = await spotify.playlist_with(mark)
        if there is not None:
            return there
        try:
            return await spotify.create_playlist(name, f"Made with Bondhu ({mark})")
        except ServiceFailed as failure:
            there = await spotify.playlist_with(mark) if failure.may_have_happened else None
            if there is None:
                raise
            return there

    async def _write(
        self,
        writing: Any,
        spotify: Spotify,
        id_: str,
        *,
        has: Sequence[str] = (),
        has_not: Sequence[str] = (),
    ) -> None:
        """Write; if the answer is lost, check whether the write took effect."""
        try:
            await writing
        except ServiceFailed as failure:
            if not failure.may_have_happened:
                raise
            there = set(await spotify.uris_of(id_))
            if not there.issuperset(has) or there & set(has_not):
                raise

    async def _resolve(self, spotify: Spotify, item: Item) -> str | None:
        if isrc := item.get("isrc"):
            found = await spotify.search(f"isrc:{isrc}")
            if found:
                return found[0].uri
        artist, title = normal(item["artist"]), normal(item["title"])
        for found_track in await spotify.search(f"track:{item['title']} artist:{item['artist']}"):
            if normal(found_track.title) == title and artist in (normal(each) for each in found_track.artists):
                return found_track.uri
        return None
