"""A queue that is fair between flows: every flow that waits is served once a round, first come first served within it.

This is deficit round robin (Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", IEEE/ACM ToN
4(3), 1996) with a quantum of one request and a cost of one each, so that no deficit is ever left over. Whatever one
flow has queued, it goes before another flow's first item at most once. It does not know what a flow or an item is, nor
how long an item will take: fair means turns, not tokens.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Flow = TypeVar("Flow", bound=Hashable)
Item = TypeVar("Item", bound=Hashable)


class FairQueue(Generic[Flow, Item]):
    """Items by flow; everything but `before` takes constant time."""

    def __init__(self) -> None:
        # OrderedDicts: a plain dict's first key is found in constant time only until many before it were removed.
        self._flows: OrderedDict[Flow, OrderedDict[Item, None]] = OrderedDict()  # the first one is next
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, flow: Flow, item: Item) -> None:
        """Append to the flow; one that has nothing waiting joins at the end of the round."""
        self._flows.setdefault(flow, OrderedDict())[item] = None
        self._length += 1

    def pop(self) -> tuple[Flow, Item]:
        """Remove and return the next item, with its flow; KeyError when there is none."""
        flow, mine = self._flows.popitem(last=False)
        item, _ = mine.popitem(last=False)
        self._length -= 1
        if mine:
            self._flows[flow] = mine  # at the end of the round
        return flow, item

    def peek(self) -> Item:
        """Return the next item and leave it there; StopIteration when there is none."""
        return next(iter(next(iter(self._flows.values()))))

    def remove(self, flow: Flow, item: Item) -> bool:
        """Take an item out wherever it stands; False when it is not there."""
        mine = self._flows.get(flow, OrderedDict[Item, None]())
        if item not in mine:
            return False
        del mine[item]
        self._length -= 1
        if not mine:
            del self._flows[flow]
        return True

    def waiting(self, flow: Flow) -> int:
        """How many items the flow has."""
        return len(self._flows.get(flow, ()))

    def before(self, flow: Flow) -> int:
        """How many items go before one pushed to `flow` now, if no other comes; linear in the number of flows."""
        turns = self.waiting(flow) + 1  # of each flow that stands before this one in the round
        total = turns - 1
        for name, items in self._flows.items():
            if name == flow:
                turns -= 1
            else:
                total += min(len(items), turns)
        return total
