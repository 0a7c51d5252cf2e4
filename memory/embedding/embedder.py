"""The interface to an embedding model."""

from collections.abc import Sequence
from typing import Protocol

from memory.recall.context_windows import window_text
from memory.recall.ranking import Matrix
from storage.memory.vectors.embeddings import Embedded, Space, Unembedded


class EmbedderAway(Exception):
    """It is down: items get their vectors later, and recall uses words only."""


class Embedder(Protocol):
    """Makes unit vectors of texts; only the beginning of a text that is too long counts."""

    space: Space
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """A row for each of `texts`; raises EmbedderAway."""
        ...


async def embedded(embedder: Embedder, items: Sequence[Unembedded]) -> list[Embedded]:
    """The vectors of stored items; equal texts are embedded once. Raises EmbedderAway."""
    windows = {item: window_text(item.around) for item in items if item.around}
    texts = list(dict.fromkeys([*(item.text for item in items), *windows.values()]))
    rows = dict(zip(texts, (row.astype("<f4").tobytes() for row in await embedder.embed(texts)), strict=True))
    return [Embedded(item, rows[item.text], rows[windows[item]] if item in windows else None) for item in items]
