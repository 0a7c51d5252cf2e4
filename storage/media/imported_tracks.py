"""Recordings that the operator imported, in addition to the bundled ones. It does not know their documents' fields."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database import upsert
from storage.media.tables import ImportedTrack

Document = Mapping[str, Any]


class SqlTracks:
    """Imported recordings in SQL."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def save(self, documents: Mapping[str, Document]) -> None:
        """Store them by id, replacing existing ones."""
        async with self._engine.begin() as connection:
            for id_, document in documents.items():
                row = {name: document.get(name) or "" for name in ("genre", "language", "mood")}
                values = {**row, "document": dict(document)}
                insert = upsert(ImportedTrack, connection.dialect.name).values(id=id_, **values)
                await connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=values))

    async def find(
        self, *, genres: Collection[str] = (), languages: Collection[str] = (), limit: int = 500
    ) -> Sequence[Document]:
        """Some recordings with these genres and languages; an empty list means any."""
        query = select(ImportedTrack.document).order_by(ImportedTrack.id).limit(limit)
        if genres:
            query = query.where(ImportedTrack.genre.in_(genres))
        if languages:
            query = query.where(ImportedTrack.language.in_(languages))
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).scalars())

    async def genres(self, *, limit: int) -> Sequence[str]:
        """The genres that there are, the shortest names first."""
        genre = ImportedTrack.genre
        query = select(genre).where(genre != "").group_by(genre).order_by(func.length(genre), genre).limit(limit)
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).scalars())

    async def count(self) -> int:
        """The number of imported recordings."""
        async with self._engine.connect() as connection:
            return int((await connection.execute(select(func.count()).select_from(ImportedTrack))).scalar_one())

    async def clear(self) -> None:
        """Delete all."""
        async with self._engine.begin() as connection:
            await connection.execute(delete(ImportedTrack))
