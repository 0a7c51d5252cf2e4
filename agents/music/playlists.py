"""Playlists as effects: proposed with their whole content, applied after a yes, undone on request.

If a playlist is on Spotify too, each change is made here first and then there. If Spotify does not answer, the proposal
stays open: another yes finds the local change done and continues with Spotify.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agents.base import RunContext
from agents.music.spotify.mirror import SpotifyMirror
from agents.outside.http import ServiceFailed
from agents.outside.tokens import NotLinked
from agents.tool import ToolFailed
from storage.media.playlists import NoPlaylist, PlaylistDiff, StoredPlaylist
from storage.memory.owner import Owner

CREATE, UPDATE, MIRROR = "create_playlist", "update_playlist", "mirror_playlist"
_GONE = "That playlist is not there any more."
_NOT_LINKED = "Your Spotify account is not connected here. Connect it first, then say yes again."
_RECONNECT = "Spotify does not know this connection any more. Connect your account again, then say yes again."
_REFUSED = "Spotify refuses your account: the operator of this service must add it to the users of their application."
_AWAY = "Spotify does not answer as it should right now. Say yes again in a while; nothing will be done twice."


class Playlists(Protocol):
    """Stores playlists (`storage.media.playlists`)."""

    async def all_of(self, owner: Owner) -> list[StoredPlaylist]:
        """The person's playlists, the last changed first."""

    async def create(
        self, owner: Owner, *, key: str, name: str, items: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]
    ) -> StoredPlaylist:
        """Create a playlist, once per key."""

    async def change(self, owner: Owner, id_: str, diff: PlaylistDiff, *, key: str) -> StoredPlaylist:
        """Change a playlist by difference, once per key; raises NoPlaylist."""

    async def undo(self, owner: Owner, key: str) -> None:
        """Undo the change of a key; raises NoPlaylist."""


class _Undoable:
    can_undo = True
    now = "as it was before"  # what it undoes

    def __init__(self, playlists: Playlists, mirror: SpotifyMirror | None = None) -> None:
        self._playlists = playlists
        self._mirror = mirror

    async def undo(self, receipt: Mapping[str, Any], *, key: str, context: RunContext) -> str:
        """See `agents.proposals.EffectHandler`."""
        owner = _owner(context)
        if self._mirror is not None and receipt.get("made"):
            await _there(self._mirror.remove(owner, receipt["made"]))
        try:
            await self._playlists.undo(owner, key)
        except NoPlaylist:
            raise ToolFailed(_GONE) from None
        if receipt.get("changed"):
            await self._push(owner, receipt["changed"], receipt.get("added", ()))
        return f'Undone: "{receipt["name"]}" is {self.now}.'

    async def _push(self, owner: Owner, id_: str, removed: Sequence[Mapping[str, Any]]) -> bool:
        """Update the playlist at Spotify, if it is there."""
        if self._mirror is None or not await self._mirror.is_there(owner, id_):
            return False
        playlist = next((each for each in await self._playlists.all_of(owner) if each.id == id_), None)
        if playlist is not None:
            await _there(self._mirror.push(owner, playlist, removed))
        return True


class CreatePlaylist(_Undoable):
    """The effect that creates a playlist."""

    now = "gone again"

    async def apply(self, arguments: Mapping[str, Any], *, key: str, context: RunContext) -> tuple[str, dict[str, Any]]:
        """See `agents.proposals.EffectHandler`."""
        made = await self._playlists.create(
            _owner(context), key=key, name=arguments["name"], items=arguments["items"], wanted=arguments["wanted"]
        )
        plain = f'Your playlist "{made.name}" is there, with {len(made.items)} songs.'
        return plain, {"name": made.name, "made": made.id}


class UpdatePlaylist(_Undoable):
    """The effect that changes a playlist by difference."""

    async def apply(self, arguments: Mapping[str, Any], *, key: str, context: RunContext) -> tuple[str, dict[str, Any]]:
        """See `agents.proposals.EffectHandler`."""
        diff = PlaylistDiff(arguments["add"], arguments["remove"])
        try:
            now = await self._playlists.change(_owner(context), arguments["id"], diff, key=key)
        except NoPlaylist:
            raise ToolFailed(_GONE) from None
        is_there = await self._push(_owner(context), arguments["id"], arguments["remove"])
        plain = f'"{now.name}" is updated{", at Spotify too" if is_there else ""}: {len(now.items)} songs.'
        return plain, {"name": now.name, "changed": now.id, "added": list(arguments["add"])}


class MirrorPlaylist(_Undoable):
    """The effect that puts a playlist on Spotify, or updates it there."""

    async def apply(self, arguments: Mapping[str, Any], *, key: str, context: RunContext) -> tuple[str, dict[str, Any]]:
        """See `agents.proposals.EffectHandler`."""
        owner = _owner(context)
        playlist = next((each for each in await self._playlists.all_of(owner) if each.id == arguments["id"]), None)
        if playlist is None or self._mirror is None:
            raise ToolFailed(_GONE)
        pushed = await _there(self._mirror.push(owner, playlist, key=key))
        missing = f" Spotify does not know {pushed.unresolved} of them." if pushed.unresolved else ""
        plain = f'"{playlist.name}" is at Spotify, with {len(playlist.items) - pushed.unresolved} songs.{missing}'
        return plain, {"name": playlist.name, "made": playlist.id if pushed.is_new else None}


async def _there(doing: Any) -> Any:
    """A sentence about the result at Spotify, also for failures; raises ToolFailed."""
    try:
        return await doing
    except NotLinked as problem:
        raise ToolFailed(_RECONNECT if problem.reconnect else _NOT_LINKED) from problem
    except ServiceFailed as problem:
        raise ToolFailed(_REFUSED if problem.status == 403 else _AWAY) from problem


def _owner(context: RunContext) -> Owner:
    assert context.owner is not None, "proposals are a person's"
    return context.owner
