"""The interface to an embedding model."""

from collections.abc import Sequence
from itertools import chain
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


async def embedded(embedder: Embedder, items: Sequence[Unembedded]) -> list[Embedded]:
    """The vectors of stored items, of long ones also of their parts; equal texts are embedded once.

    Raises EmbedderAway.
    """
    windows = {item: window_text(item.around) for item in items if item.around}
    parts = {item: parts_of(item.text) for item in items}
    texts = list(dict.fromkeys([*(item.text for item in items), *windows.values(), *chain(*parts.values())]))
    rows: dict[str, bytes] = {}
    for first in range(0, len(texts), AT_ONCE):
        some = texts[first : first + AT_ONCE]
        made = await embedder.embed(some)
        rows |= {text: row.astype("<f4").tobytes() for text, row in zip(some, made, strict=True)}
    return [
        Embedded(
            item,
            rows[item.text],
            rows[windows[item]] if item in windows else None,
            b"".join(rows[part] for part in parts[item]) or None,
        )
        for item in items
    ]
