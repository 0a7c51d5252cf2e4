"""Adapts the embedder client to memory's interface: arrays, small batches, and one exception."""

from collections.abc import Sequence

import numpy as np

from memory.embedding.embedder import EmbedderAway
from memory.recall.ranking import Matrix
from serving.engines.embedder import EmbedderClient
from serving.errors import EngineTimeout, EngineUnavailable
from storage.memory.vectors.embeddings import Space

AT_ONCE = 64  # texts in a request, so that other requests are served in between


class MemoryEmbedder:
    """Embeds with `embedder`; texts longer than its context are truncated.

    Args:
        embedder: the gateway's client.
        revision: revision of its weights.

    """

    def __init__(self, embedder: EmbedderClient, revision: str) -> None:
        self.space = Space(embedder.model, revision)
        self.dimensions = embedder.dimensions
        self._embedder = embedder

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """A unit vector for each of `texts`; raises EmbedderAway."""
        rows = bytearray()
        try:
            for first in range(0, len(texts), AT_ONCE):
                some, _ = await self._embedder.embed(list(texts[first : first + AT_ONCE]), truncate=True)
                rows += some
        except (EngineTimeout, EngineUnavailable) as problem:
            raise EmbedderAway from problem
        return np.frombuffer(bytes(rows), dtype="<f4").reshape(len(texts), self.dimensions)
