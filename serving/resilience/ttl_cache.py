"""Remembers answers for a few seconds, a bounded number of them."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Known(NamedTuple, Generic[Value]):
    """A remembered value, and whether it may still be used."""

    value: Value
    is_fresh: bool


class TtlCache(Generic[Key, Value]):
    """A cache; `ttl_s` is how long a value is fresh. Above `max_entries` the oldest is dropped."""

    def __init__(self, ttl_s: float, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def find(self, key: Key) -> Known[Value] | None:
        """The remembered value, fresh or not; None: there is none."""
        entry = self._entries.get(key)
        return None if entry is None else Known(entry[1], self._clock() <= entry[0])

    def put(self, key: Key, value: Value, *, since: float | None = None) -> None:
        """Remember a value, which is fresh from `since` (of the clock; None: now)."""
        self._entries[key] = ((self._clock() if since is None else since) + self._ttl_s, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def drop(self, key: Key) -> None:
        """Forget a value."""
        self._entries.pop(key, None)
