"""The items shown last in a conversation, so that "like 2" and "not the first" can be resolved."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agents.base import RunContext
from agents.ranking.positions import pointed_of

ATTEMPTS = 3
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "last": -1}
_NUMBER = re.compile(r"(?:^|\s)#?(\d{1,2})(?=$|[\s.,!?])")


async def remember_shown(agent: str, context: RunContext, items: Sequence[Mapping[str, Any]]) -> None:
    """Store the items, if there is a state store; each has a `title`."""
    if context.state is None or context.owner is None:
        return
    key = context.state_key(agent, "shown")
    for _ in range(ATTEMPTS):
        kept = await context.state.load(key)
        expected = 0 if kept is None else kept.version
        if await context.state.save(key, {"items": [dict(item) for item in items]}, expected=expected):
            return


async def shown_before(agent: str, context: RunContext) -> list[dict[str, Any]]:
    """The items shown last; empty if there are none."""
    if context.state is None or context.owner is None:
        return []
    kept = await context.state.load(context.state_key(agent, "shown"))
    return [] if kept is None else list(kept.value["items"])


def pointed_at(text: str, items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The items that a message means: by number, by position, by title, or the only one."""
    pointed = pointed_of(text)
    if pointed is not None:
        return [items[place - 1 if place > 0 else place] for place in pointed.places if 0 < abs(place) <= len(items)]
    folded = text.casefold()
    by_title = [item for item in items if str(item["title"]).casefold() in folded]
    if by_title:
        return by_title
    numbers = [int(each) for each in _NUMBER.findall(folded)]
    numbers += [position for word, position in _ORDINALS.items() if re.search(rf"\b{word}\b", folded)]
    named = [items[number - 1 if number > 0 else number] for number in numbers if 0 < abs(number) <= len(items)]
    if named or numbers:
        return named
    if re.search(r"\b(?:all|them|these|those)\b", folded):
        return list(items)
    return list(items) if len(items) == 1 else []
