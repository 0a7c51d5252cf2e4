"""Which classes may take a slot: background work holds no more than its share, the rest is kept for people.

A class's share contains the shares of the classes below it: jobs hold at most theirs, agents and jobs together at most
the agents', everybody all slots. (Telephony calls it trunk reservation.) A share is never less than one slot, or the
class would be shut out where slots are few. When slots vanish nobody is turned out: a class that holds too many takes
none until enough have left. A request holds as many slots as it has sequences, but
no more than its class may hold at all: such a one enters when nobody of its share is inside. It does not know who
waits, nor how many slots there are: its owner says.
"""

from collections.abc import Mapping
from types import MappingProxyType

from serving.admission.priority_queue import CLASSES
from storage.tables import RequestClass


class ClassQuota:
    """Counts who is inside; `shares` are fractions of all slots."""

    def __init__(self, shares: Mapping[RequestClass, float]) -> None:
        self._shares = shares
        self.inside: dict[RequestClass, int] = dict.fromkeys(CLASSES, 0)

    def limit(self, class_: RequestClass, slots: int) -> int:
        """How many of `slots` the class and those below it may hold together."""
        return min(slots, max(1, int(self._shares[class_] * slots)))

    def slots_for(self, class_: RequestClass, sequences: int, slots: int) -> int:
        """How many of `slots` a request of so many sequences holds: at least one."""
        return max(1, min(sequences, self.limit(class_, slots)))

    def may_take(self, slots: int, needs: Mapping[RequestClass, int] = MappingProxyType({})) -> list[RequestClass]:
        """The classes that may take what they need of `slots` now (one, where `needs` says nothing), the highest first.

        A lower class does not pass a higher one that waits for more slots than are free.
        """
        held = sum(self.inside.values())
        allowed: list[RequestClass] = []
        for class_ in CLASSES:  # whoever finds a share full finds it full for every class within it
            if held + self.slots_for(class_, needs.get(class_, 1), slots) > self.limit(class_, slots):
                break
            allowed.append(class_)
            held -= self.inside[class_]
        return allowed
