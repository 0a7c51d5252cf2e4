"""A person's playlists that exist at a service too, or are being created there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.memory.owner import Owner
from storage.services.tables import RemotePlaylist


@dataclass(frozen=True, slots=True)
class Remote:
    """A playlist at a service; see `storage.services.tables.RemotePlaylist`."""

    playlist: str
    mark: str
    remote_id: str | None


class SqlRemotes:
    """Playlists at services, in SQL.

    Args:
        engine: the pool.
        now: the time, aware.

    """

    def __init__(self, engine: AsyncEngine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now

    async def ids_of(self, owner: Owner) -> set[str]:
        """The local ids of their playlists that exist at any service."""
        async with self._engine.connect() as connection:
            return set((await connection.execute(owner.select(RemotePlaylist, RemotePlaylist.playlist))).scalars())

    async def find(self, owner: Owner, service: str, playlist: str) -> Remote | None:
        """The place of a playlist there; None if it is not there."""
        columns = [getattr(RemotePlaylist, name) for name in Remote.__dataclass_fields__]
        query = owner.select(RemotePlaylist, *columns)
        query = query.where(RemotePlaylist.service == service, RemotePlaylist.playlist == playlist)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Remote(*row)

    async def begin(self, owner: Owner, service: str, playlist: str, mark: str) -> Remote:
        """Record under this mark that it will be created; or return the earlier record."""
        row = {"service": service, "playlist": playlist, "mark": mark, "unresolved": 0}
        async with self._engine.begin() as connection:
            new = upsert(RemotePlaylist, connection.dialect.name)
            values = {**owner.columns, **row, "remote_id": None, "updated_at": self._now()}
            await connection.execute(new.values(**values).on_conflict_do_nothing())
        found = await self.find(owner, service, playlist)
        assert found is not None, "it was just stored"
        return found

    async def made(self, owner: Owner, service: str, playlist: str, remote_id: str) -> None:
        """Record its id there."""
        await self._change(owner, service, playlist, remote_id=remote_id, updated_at=self._now())

    async def note_unresolved(self, owner: Owner, service: str, playlist: str, unresolved: int) -> None:
        """Record how many of its songs were not found there."""
        await self._change(owner, service, playlist, unresolved=unresolved, updated_at=self._now())

    async def forget(self, owner: Owner, service: str, playlist: str) -> None:
        """Record that it no longer exists there."""
        mine = owner.delete(RemotePlaylist)
        mine = mine.where(RemotePlaylist.service == service, RemotePlaylist.playlist == playlist)
        async with self._engine.begin() as connection:
            await connection.execute(mine)

    async def _change(self, owner: Owner, service: str, playlist: str, **values: object) -> None:
        mine = owner.update(RemotePlaylist)
        mine = mine.where(RemotePlaylist.service == service, RemotePlaylist.playlist == playlist)
        async with self._engine.begin() as connection:
            await connection.execute(mine.values(values))
