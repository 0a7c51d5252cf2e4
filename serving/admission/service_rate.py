"""Measures how fast slots become free: completions per second, weighted to about the last hundred.

    per slot = sum of w / sum of w x slot-seconds      expected wait = (before + 1) / (slots x per slot)

The sums run over completions; w is (1 - 1/MEMORY) to the power of the number of completions since. Slot-seconds are the
time that slots were held, including those still held: a stall shows before anything completes, and idle time does not
count, so a light load does not look like a slow engine. It is the maximum-likelihood rate of service times censored at
the present ("total time on test": Epstein and Sobel, "Life Testing", JASA 48, 1953). That a full gate completes slots
over mean service time requests per second is Little's law (Operations Research 9, 1961).

It treats all requests alike: after a change from short to long answers, it is wrong for about MEMORY completions.
"""

MEMORY = 100  # completions
FEWEST = 10  # completions before there is an estimate


class ServiceRate:
    """Estimates the rate from every slot taken and freed; times are monotonic seconds."""

    def __init__(self) -> None:
        self._held = 0
        self._changed_at = 0.0
        self._slot_seconds = 0.0  # up to the last completion, weighted
        self._since = 0.0  # slot-seconds since then
        self._weights = 0.0
        self._completions = 0

    def taken(self, now: float, slots: int = 1) -> None:
        """Note that a request got its slots."""
        self._advance(now)
        self._held += slots

    def freed(self, now: float, slots: int = 1) -> None:
        """Note that a request freed its slots, for any reason; it counts as one completion."""
        self._advance(now)
        self._held -= slots
        self._completions += 1
        self._slot_seconds = self._slot_seconds * (1 - 1 / MEMORY) + self._since
        self._weights = self._weights * (1 - 1 / MEMORY) + 1
        self._since = 0.0

    def per_slot(self, now: float) -> float | None:
        """Completions per second of a busy slot; None while too little is known."""
        self._advance(now)
        measured = self._slot_seconds + self._since
        return self._weights / measured if measured and self._completions >= FEWEST else None

    def _advance(self, now: float) -> None:
        self._since += self._held * (now - self._changed_at)
        self._changed_at = now
