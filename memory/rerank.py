"""A second look at the head of a ranking, by a model that reads question and text together, where one is configured."""

from collections.abc import Sequence
from typing import Protocol

from memory.recall import Ranked

HEAD = 30  # how many are looked at


class CrossEncoder(Protocol):
    """Says how well a text answers a question: greater is better, nothing else is known of the scale."""

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """One score for each of `texts`."""
        ...


async def reranked(encoder: CrossEncoder, question: str, found: Sequence[Ranked], *, head: int = HEAD) -> list[Ranked]:
    """The first `head` of `found` in the encoder's order, of equals the first; then the rest as it was."""
    first = found[:head]
    scores = await encoder.score(question, [each.item.text for each in first])
    order = sorted(range(len(first)), key=lambda place: -scores[place])
    return [first[place] for place in order] + list(found[head:])
