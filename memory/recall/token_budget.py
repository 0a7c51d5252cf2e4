"""What of a ranking fits into a prompt."""

from collections.abc import Callable, Sequence

from memory.recall.ranking import Ranked


def within_budget(found: Sequence[Ranked], budget_tokens: int, count: Callable[[str], int]) -> list[Ranked]:
    """The best of `found` that fit together into `budget_tokens`, in their order.

    What alone is too long is passed over for what comes after it; `count` tells a text's tokens.
    """
    kept, left = [], budget_tokens
    for each in found:
        tokens = count(each.item.text)
        if tokens <= left:
            kept.append(each)
            left -= tokens
    return kept
