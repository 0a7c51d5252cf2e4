"""A priority queue over classes, with occasional turns for lower classes; within a class it is fair.

The order of classes is interactive, agent, job. A waiting class that may go is due once it has been passed over e - 1
times for higher ones, where e is `lower_class_every`; of two due classes, the one passed over more often goes first, so
that no class is passed over more than e times. In the long run people keep (e - 1) / e of the turns against one lower
class and ((e - 1) / e)^2 against both: 81 % for e = 10.

It does not know slots, time or what waits: the caller says which classes may go.
"""

from collections import Counter
from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

from serving.admission.fair_queue import FairQueue
from storage.tables import RequestClass

Flow = tuple[str, str | None]
"""Application and end user; an application's requests without a user are one flow."""

CLASSES: tuple[RequestClass, ...] = ("interactive", "agent", "job")

Item = TypeVar("Item", bound=Hashable)


class PriorityQueue(Generic[Item]):
    """The requests that wait for one model; `lower_class_every` is at least 2."""

    def __init__(self, *, lower_class_every: int) -> None:
        self._every = lower_class_every
        self._queues: dict[RequestClass, FairQueue[Flow, Item]] = {class_: FairQueue() for class_ in CLASSES}
        self._passed_over = dict.fromkeys(CLASSES, 0)
        self._of_app: Counter[tuple[RequestClass, str]] = Counter()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def depth(self, class_: RequestClass) -> int:
        """The number of waiting items of a class."""
        return len(self._queues[class_])

    def depth_of_app(self, class_: RequestClass, app: str) -> int:
        """The number of waiting items of an application in a class."""
        return self._of_app[class_, app]

    def depth_of_flow(self, class_: RequestClass, flow: Flow) -> int:
        """The number of waiting items of a flow in a class."""
        return self._queues[class_].waiting(flow)

    def push(self, class_: RequestClass, flow: Flow, item: Item) -> None:
        """Add an item, which must not be waiting already."""
        self._queues[class_].push(flow, item)
        self._of_app[class_, flow[0]] += 1
        self._length += 1

    def remove(self, class_: RequestClass, flow: Flow, item: Item) -> bool:
        """Remove an item; False if it is not waiting."""
        found = self._queues[class_].remove(flow, item)
        if found:
            self._left(class_, flow[0])
        return found

    def pop(self, may_go: Collection[RequestClass]) -> Item | None:
        """Remove and return the next item of the classes that may go; None if none of them waits."""
        waiting = [class_ for class_ in CLASSES if class_ in may_go and self._queues[class_]]
        if not waiting:
            return None
        due = [class_ for class_ in waiting[1:] if self._passed_over[class_] >= self._every - 1]
        chosen = max(due, key=self._passed_over.__getitem__) if due else waiting[0]
        for class_ in waiting[waiting.index(chosen) + 1 :]:
            self._passed_over[class_] += 1
        self._passed_over[chosen] = 0
        flow, item = self._queues[chosen].pop()
        self._left(chosen, flow[0])
        return item

    def first(self, class_: RequestClass) -> Item | None:
        """The next item of a class; None if none waits."""
        queue = self._queues[class_]
        return queue.peek() if queue else None

    def before(self, class_: RequestClass, flow: Flow) -> tuple[int, int]:
        """How many items go before one pushed now, if no more arrive: (of its class, of other classes)."""
        rank = CLASSES.index(class_)
        own = self._queues[class_].before(flow)
        higher = min(sum(map(self.depth, CLASSES[:rank])), (own + 1) * (self._every - 1))
        turns = (own + higher) // (self._every - 1)
        return own, higher + sum(min(self.depth(lower), turns) for lower in CLASSES[rank + 1 :])

    def _left(self, class_: RequestClass, app: str) -> None:
        self._length -= 1
        self._of_app[class_, app] -= 1
        if not self._of_app[class_, app]:
            del self._of_app[class_, app]
