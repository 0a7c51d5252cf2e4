"""Selects the part of a ranking that fits into a prompt."""

from collections.abc import Callable, Sequence

from memory.recall.ranking import Ranked


def within_budget(found: Sequence[Ranked], budget_tokens: int, count: Callable[[str], int]) -> list[Ranked]:
    """The best items of `found` that fit together into `budget_tokens`, in their order.

    An item that does not fit is skipped in favour of later ones; `count` returns the tokens of a text.
    """
    kept, left = [], budget_tokens
    for each in found:
        tokens = count(each.item.text)
        if tokens <= left:
            kept.append(each)
            left -= tokens
    return kept
