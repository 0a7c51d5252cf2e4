"""Which classes may take a slot: background work is limited to its share, the rest is reserved for people.

A class's share includes the shares of lower classes: jobs hold at most theirs, agents and jobs together at most the
agents', all classes together all slots (telephony calls this trunk reservation). A share is at least one slot. When
slots disappear, nobody is evicted: a class that holds too many gets none until enough are freed. A request holds one
slot per sequence, but at most its class's limit; such a request enters when its share is empty. This module does not
know who waits or how many slots there are: the caller passes that.
"""

from collections.abc import Mapping
from types import MappingProxyType

from serving.admission.priority_queue import CLASSES
from storage.tables import RequestClass


class ClassQuota:
    """Counts the slots that each class holds; `shares` are fractions of all slots."""

    def __init__(self, shares: Mapping[RequestClass, float]) -> None:
        self._shares = shares
        self.inside: dict[RequestClass, int] = dict.fromkeys(CLASSES, 0)

    def limit(self, class_: RequestClass, slots: int) -> int:
        """How many of `slots` the class and lower classes may hold together."""
        return min(slots, max(1, int(self._shares[class_] * slots)))

    def slots_for(self, class_: RequestClass, sequences: int, slots: int) -> int:
        """How many of `slots` a request of this many sequences holds: at least one."""
        return max(1, min(sequences, self.limit(class_, slots)))

    def may_take(self, slots: int, needs: Mapping[RequestClass, int] = MappingProxyType({})) -> list[RequestClass]:
        """The classes, highest first, that may take what they need of `slots` now (one slot if not in `needs`).

        A lower class does not pass a higher one that waits for more slots than are free.
        """
        held = sum(self.inside.values())
        allowed: list[RequestClass] = []
        for class_ in CLASSES:  # if a share is full, it is full for all lower classes too
            limit = self.limit(class_, slots)
            if held + max(1, min(needs.get(class_, 1), limit)) > limit:
                break
            allowed.append(class_)
            held -= self.inside[class_]
        return allowed
