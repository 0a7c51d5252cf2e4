"""Playlists as effects: proposed with all that they would hold, done on a yes, undone on request."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agents.base import RunContext
from agents.tool import ToolFailed
from storage.media.playlists import NoPlaylist, PlaylistDiff, StoredPlaylist
from storage.memory.owner import Owner

CREATE, UPDATE = "create_playlist", "update_playlist"
_GONE = "That playlist is not there any more."


class Playlists(Protocol):
    """Keeps playlists (`storage.media.playlists`)."""

    async def all_of(self, owner: Owner) -> list[StoredPlaylist]:
        """Theirs, the last changed first."""

    async def create(
        self, owner: Owner, *, key: str, name: str, items: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]
    ) -> StoredPlaylist:
        """Make one, once under a key."""

    async def change(self, owner: Owner, id_: str, diff: PlaylistDiff, *, key: str) -> StoredPlaylist:
        """Change one by difference, once under a key; raises NoPlaylist."""

    async def undo(self, owner: Owner, key: str) -> None:
        """Take the change of a key back; raises NoPlaylist."""


class _Undoable:
    can_undo = True

    def __init__(self, playlists: Playlists) -> None:
        self._playlists = playlists

    async def undo(self, receipt: Mapping[str, Any], *, key: str, context: RunContext) -> str:
        """See `agents.proposals.EffectHandler`."""
        try:
            await self._playlists.undo(_owner(context), key)
        except NoPlaylist:
            raise ToolFailed(_GONE) from None
        return f'Undone: "{receipt["name"]}" is as it was before.'


class CreatePlaylist(_Undoable):
    """Makes a playlist."""

    async def apply(self, arguments: Mapping[str, Any], *, key: str, context: RunContext) -> tuple[str, dict[str, Any]]:
        """See `agents.proposals.EffectHandler`."""
        made = await self._playlists.create(
            _owner(context), key=key, name=arguments["name"], items=arguments["items"], wanted=arguments["wanted"]
        )
        return f'Your playlist "{made.name}" is there, with {len(made.items)} songs.', {"name": made.name}


class UpdatePlaylist(_Undoable):
    """Changes a playlist by difference."""

    async def apply(self, arguments: Mapping[str, Any], *, key: str, context: RunContext) -> tuple[str, dict[str, Any]]:
        """See `agents.proposals.EffectHandler`."""
        diff = PlaylistDiff(arguments["add"], arguments["remove"])
        try:
            now = await self._playlists.change(_owner(context), arguments["id"], diff, key=key)
        except NoPlaylist:
            raise ToolFailed(_GONE) from None
        return f'"{now.name}" is updated: {len(now.items)} songs.', {"name": now.name}


def _owner(context: RunContext) -> Owner:
    assert context.owner is not None, "proposals are a person's"
    return context.owner
