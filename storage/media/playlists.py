"""Playlists of a person: create, change by difference, undo; each change once per key, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database import upsert
from storage.media.tables import Playlist, PlaylistChange
from storage.memory.owner import Owner

Item = Mapping[str, Any]


class NoPlaylist(Exception):
    """There is no playlist with this id."""


@dataclass(frozen=True, slots=True)
class StoredPlaylist:
    """The current state of a playlist."""

    id: str
    name: str
    items: Sequence[Item]
    wanted: Mapping[str, Any]
    version: int


@dataclass(frozen=True, slots=True)
class PlaylistDiff:
    """Additions and removals of a playlist. Items are identified by `id`."""

    add: Sequence[Item] = ()
    remove: Sequence[Item] = ()

    def applied(self, items: Sequence[Item]) -> list[Item]:
        """The items after the change; existing items are not added twice."""
        gone = {item["id"] for item in self.remove}
        kept = [item for item in items if item["id"] not in gone]
        there = {item["id"] for item in kept}
        return [*kept, *(item for item in self.add if item["id"] not in there)]


class SqlPlaylists:
    """Playlists in SQL.

    Args:
        engine: the pool.
        now: the time, aware.

    """

    def __init__(self, engine: AsyncEngine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    async def all_of(self, owner: Owner) -> list[StoredPlaylist]:
        """The person's playlists, the last changed first."""
        query = owner.select(Playlist).order_by(Playlist.updated_at.desc(), Playlist.id)
        async with self._engine.connect() as connection:
            return [_stored(row) for row in await connection.execute(query)]

    async def create(
        self, owner: Owner, *, key: str, name: str, items: Sequence[Item], wanted: Mapping[str, Any]
    ) -> StoredPlaylist:
        """Create a playlist with `key` as its id, unless this key was used."""
        async with self._engine.begin() as connection:
            if await self._note(connection, owner, key, key, PlaylistDiff(add=items), is_new=True):
                row = {"id": key, "name": name, "items": list(items), "wanted": dict(wanted)}
                await self._write(connection, owner, row, version=1)
            return await _load(connection, owner, key)

    async def change(self, owner: Owner, id_: str, diff: PlaylistDiff, *, key: str) -> StoredPlaylist:
        """Change it by difference, unless this key was used; raises NoPlaylist."""
        async with self._engine.begin() as connection:
            return await self.change_within(connection, owner, id_, diff, key=key)

    async def change_within(
        self, connection: AsyncConnection, owner: Owner, id_: str, diff: PlaylistDiff, *, key: str
    ) -> StoredPlaylist:
        """`change` within an open change."""
        await _lock(connection, owner, id_)
        before = await _load(connection, owner, id_)
        after = diff.applied(before.items)
        had, has = {item["id"] for item in before.items}, {item["id"] for item in after}
        made = PlaylistDiff(
            add=[item for item in after if item["id"] not in had],
            remove=[item for item in before.items if item["id"] not in has],
        )
        if await self._note(connection, owner, key, id_, made, is_new=False):
            await self._rewrite(connection, owner, before, after)
        return await _load(connection, owner, id_)

    async def unchanged_since(self, owner: Owner, before: datetime) -> list[StoredPlaylist]:
        """Their playlists last changed before `before`, oldest first."""
        query = owner.select(Playlist).where(Playlist.updated_at <= before).order_by(Playlist.updated_at, Playlist.id)
        async with self._engine.connect() as connection:
            return [_stored(row) for row in await connection.execute(query)]

    async def touch_within(self, connection: AsyncConnection, owner: Owner, id_: str) -> None:
        """Mark it as changed now, within an open change."""
        await connection.execute(owner.update(Playlist).where(Playlist.id == id_).values(updated_at=self._now()))

    async def undo(self, owner: Owner, key: str) -> None:
        """Undo the change of this key, unless done; later changes stay. Raises NoPlaylist."""
        async with self._engine.begin() as connection:
            mark = (
                owner.update(PlaylistChange)
                .where(PlaylistChange.key == key, PlaylistChange.undone.is_(False))
                .values(undone=True)
            )
            if not (await connection.execute(mark)).rowcount:
                return
            done = (await connection.execute(owner.select(PlaylistChange).where(PlaylistChange.key == key))).one()
            if done.is_new:
                await connection.execute(owner.delete(Playlist).where(Playlist.id == done.playlist))
                return
            await _lock(connection, owner, done.playlist)
            now = await _load(connection, owner, done.playlist)
            await self._rewrite(connection, owner, now, PlaylistDiff(done.removed, done.added).applied(now.items))

    async def _note(
        self, connection: AsyncConnection, owner: Owner, key: str, id_: str, diff: PlaylistDiff, *, is_new: bool
    ) -> bool:
        row = {
            "key": key,
            "playlist": id_,
            "added": list(diff.add),
            "removed": list(diff.remove),
            "is_new": is_new,
            "undone": False,
            "at": self._now(),
        }
        insert = upsert(PlaylistChange, connection.dialect.name).values(**owner.columns, **row)
        return bool((await connection.execute(insert.on_conflict_do_nothing())).rowcount)

    async def _write(self, connection: AsyncConnection, owner: Owner, row: Mapping[str, Any], version: int) -> None:
        insert = upsert(Playlist, connection.dialect.name)
        await connection.execute(insert.values(**owner.columns, **row, version=version, updated_at=self._now()))

    async def _rewrite(
        self, connection: AsyncConnection, owner: Owner, before: StoredPlaylist, items: Sequence[Item]
    ) -> None:
        values = {"items": list(items), "version": before.version + 1, "updated_at": self._now()}
        await connection.execute(owner.update(Playlist).where(Playlist.id == before.id).values(**values))


async def _lock(connection: AsyncConnection, owner: Owner, id_: str) -> None:
    """Lock the row before reading it, so that concurrent changes are serialised in both databases."""
    await connection.execute(owner.update(Playlist).where(Playlist.id == id_).values(version=Playlist.version))


async def _load(connection: AsyncConnection, owner: Owner, id_: str) -> StoredPlaylist:
    row = (await connection.execute(owner.select(Playlist).where(Playlist.id == id_))).one_or_none()
    if row is None:
        raise NoPlaylist(id_)
    return _stored(row)


def _stored(row: Any) -> StoredPlaylist:
    return StoredPlaylist(row.id, row.name, row.items, row.wanted, row.version)
