"""The interface to an embedding model."""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Protocol

from memory.embedding.parts import parts_of
from memory.recall.context_windows import window_text
from memory.recall.ranking import Matrix
from storage.memory.vectors.embeddings import Embedded, Space, Unembedded

AT_ONCE = 128  # texts in a request


class EmbedderAway(Exception):
    """It is down: items get their vectors later, and recall uses words only."""


class Embedder(Protocol):
    """Makes unit vectors of texts; only the beginning of a text that is too long counts."""

    space: Space
    dimensions: int

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """A row for each of `texts`; raises EmbedderAway."""
        ...


async def embedded(
    embedder: Embedder, items: Sequence[Unembedded], known: Mapping[str, bytes] = MappingProxyType({})
) -> list[Embedded]:
    """The missing vectors of stored items, of long ones also of their parts; equal texts are embedded once.

    `known` are vectors of texts that were embedded before. Raises EmbedderAway.
    """
    windows = {item: window_text(item.around) for item in items if item.around}
    new = [item for item in items if item.single is None]
    parts = {item: [] if item.parts else parts_of(item.text) for item in items}
    texts = dict.fromkeys([*(item.text for item in new), *windows.values(), *chain(*parts.values())])
    rows = {text: known[text] for text in texts if text in known}
    missing = [text for text in texts if text not in rows]
    for first in range(0, len(missing), AT_ONCE):
        some = missing[first : first + AT_ONCE]
        rows |= {text: as_bytes(row) for text, row in zip(some, await embedder.embed(some), strict=True)}
    return [
        Embedded(
            item,
            item.single or rows[item.text],
            rows[windows[item]] if item in windows else None,
            item.parts or b"".join(rows[part] for part in parts[item]) or None,
        )
        for item in items
    ]


def as_bytes(vector: Matrix) -> bytes:
    """A vector as it is stored."""
    return vector.astype("<f4").tobytes()
