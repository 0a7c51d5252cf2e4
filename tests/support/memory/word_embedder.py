"""A deterministic embedder for tests where it does not matter what vectors mean: texts that share words are near."""

import re
import zlib
from collections.abc import Sequence

import numpy as np

from memory.embedding.embedder import EmbedderAway
from memory.recall.ranking import Matrix
from storage.memory.vectors.embeddings import Space

DIMENSIONS = 64


class WordEmbedder:
    """Adds up a direction of each word, drawn from the word's checksum."""

    def __init__(self, revision: str = "1") -> None:
        self.space = Space("words", revision)
        self.dimensions = DIMENSIONS
        self.is_away = False
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return unit vectors; raises EmbedderAway if `is_away`."""
        if self.is_away:
            raise EmbedderAway
        self.texts += texts
        return np.stack([_vector(text) for text in texts])


def _vector(text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    total = np.full(DIMENSIONS, 1e-3)
    for word in re.findall(r"\w+", text.lower()):
        total += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(DIMENSIONS)
    return (total / np.linalg.norm(total)).astype(np.float32)
