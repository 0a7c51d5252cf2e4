"""A queue that is fair between flows: each waiting flow is served once a round, first come first served within it.

This is deficit round robin (Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", IEEE/ACM ToN
4(3), 1996) with a quantum and a cost of one request, so that no deficit is left over. However much a flow has queued,
at most one of its items goes before another flow's first item. This module does not know what a flow or an item is, nor
how long an item takes: fairness is in turns, not in tokens.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Flow = TypeVar("Flow", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)


class FairQueue(Generic[Flow, Item]):
    """Items by flow; everything but `before` takes constant time."""

    def __init__(self) -> None:
        # OrderedDict, because finding a dict's first key is slow once many keys before it were deleted.
        self._flows: OrderedDict[Flow, OrderedDict[Item, None]] = OrderedDict()  # the first one is next
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, flow: Flow, item: Item) -> None:
        """Append to the flow; a flow with nothing waiting joins at the end of the round."""
        self._flows.setdefault(flow, OrderedDict())[item] = None
        self._length += 1

    def pop(self) -> tuple[Flow, Item]:
        """Remove and return the next item with its flow; raises KeyError if there is none."""
        flow, items = self._flows.popitem(last=False)
        item, _ = items.popitem(last=False)
        self._length -= 1
        if items:
            self._flows[flow] = items  # at the end of the round
        return flow, item

    def peek(self) -> Item:
        """Return the next item without removing it; raises StopIteration if there is none."""
        return next(iter(next(iter(self._flows.values()))))

    def remove(self, flow: Flow, item: Item) -> bool:
        """Remove an item at any position; False if it is not in the queue."""
        items = self._flows.get(flow, OrderedDict[Item, None]())
        if item not in items:
            return False
        del items[item]
        self._length -= 1
        if not items:
            del self._flows[flow]
        return True

    def waiting(self, flow: Flow) -> int:
        """The number of items that wait in the flow."""
        return len(self._flows.get(flow, ()))

    def before(self, flow: Flow) -> int:
        """How many items go before one pushed to `flow` now, if no more arrive; linear in the number of flows."""
        turns = self.waiting(flow) + 1  # of each flow before this one in the round
        total = turns - 1
        for name, items in self._flows.items():
            if name == flow:
                turns -= 1
            else:
                total += min(len(items), turns)
        return total
