"""Waiting for a state, with a deadline, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], within_s: float, what: str, every_s: float = 0.1) -> Found:
    """Return the first truthy value of `look`; fails the test, naming `what`, when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what} (last: {found!r})"
        time.sleep(every_s)
