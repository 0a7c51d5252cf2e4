"""Finds the turns and memories that an intent means, and turns of others that would still reveal them.

The lexical index finds every item with all words of the intent, stemmed and without stop words (`memory.recall.bm25`);
`memory.intents.matching` then looks closer. Turns of others, mostly replies, are included if they would reveal what is
forgotten (`memory.recall.person_index.PersonIndex.echoes`). This module changes nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass

from memory.intents.matching import Matcher, Source
from memory.recall.corpus import Item
from memory.service import MemoryService
from storage.memory.owner import Owner
from storage.memory.tables import ItemKind

MAX_ITEMS = 50  # that one intent reaches, the newest, and as many turns of others that go along


@dataclass(frozen=True, slots=True)
class Reach:
    """The ids of turns and memories; `left` is the number of more, beyond MAX_ITEMS."""

    turns: tuple[str, ...] = ()
    memories: tuple[str, ...] = ()
    left: int = 0

    def __bool__(self) -> bool:
        return bool(self.turns or self.memories)


async def reach(
    store: MemoryService,
    owner: Owner,
    matcher: Matcher,
    about: str,
    *,
    person: Collection[str],
    itself: str | None = None,
) -> Reach:
    """The items that an intent about `about` means.

    Args:
        store: people's pasts.
        owner: whose.
        matcher: decides about each item.
        about: the words of the intent.
        person: the person's names as a speaker, case folded.
        itself: the turn with the intent, which is included; None: it was not stored.

    """

    def is_meant(item: Item) -> bool:
        source: Source = "memory" if item.kind == "memory" else "own" if _speaks(item, person) else "other"
        return matcher.is_meant(item.text, source)

    own: list[tuple[ItemKind, str]] = [] if itself is None else [("turn", itself)]
    holding = await store.holding(owner, about, is_meant, is_name=bool(matcher.names))
    found = [each for each in holding if each not in own]
    reached, echoes = found[:MAX_ITEMS], list[str]()
    if reached:
        echoes = await store.echoes(owner, about, [*reached, *own], person)
    turns = [id_ for kind, id_ in [*reached, *own] if kind == "turn"] + echoes[:MAX_ITEMS]
    memories = [id_ for kind, id_ in reached if kind == "memory"]
    return Reach(tuple(turns), tuple(memories), len(found[MAX_ITEMS:]) + len(echoes[MAX_ITEMS:]))


def _speaks(item: Item, person: Collection[str]) -> bool:
    return (item.speaker or "").casefold() in person
