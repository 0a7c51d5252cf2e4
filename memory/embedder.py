"""What memory asks of a model of embeddings."""

from collections.abc import Sequence
from typing import Protocol

from memory.recall import Matrix
from storage.embeddings import Space


class EmbedderAway(Exception):
    """It does not answer now: what is stored gets its vectors later, and recall goes by words alone."""


class Embedder(Protocol):
    """Makes unit vectors of texts; of a text that is too long for it, of its beginning."""

    space: Space
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """A row for each of `texts`; raises EmbedderAway."""
        ...
