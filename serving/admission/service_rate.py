"""How fast slots become free: completions a second, measured, the last hundred or so counting most.

    per slot = sum of w / sum of w x slot-seconds      expected wait = (before + 1) / (slots x per slot)

The sums run over completions; w is (1 - 1/MEMORY) to the number of completions since. Slot-seconds are the time that
slots were held, by those still inside too: a stall shows before anything completes, idle time changes nothing, and so a
light load does not look like a slow engine. It is the maximum-likelihood rate of service times cut off at the present
("total time on test": Epstein and Sobel, "Life Testing", JASA 48, 1953). That a full gate's completions a second are
slots over mean service time is Little's law (Operations Research 9, 1961).

It does not know who waits, and takes all requests for equal: after a change from short to long answers it errs for
some MEMORY completions.
"""

MEMORY = 100  # completions
FEWEST = 10  # completions before there is an estimate


class ServiceRate:
    """Told of every slot that is taken and freed; instants are monotonic seconds."""

    def __init__(self) -> None:
        self._held = 0
        self._changed_at = 0.0
        self._slot_seconds = 0.0  # up to the last completion, weighted
        self._since = 0.0  # slot-seconds since then
        self._weights = 0.0
        self._completions = 0

    def taken(self, now: float, slots: int = 1) -> None:
        """A request got its slots."""
        self._advance(now)
        self._held += slots

    def freed(self, now: float, slots: int = 1) -> None:
        """A request left its slots, for whatever reason: one completion, of all their slot-seconds."""
        self._advance(now)
        self._held -= slots
        self._completions += 1
        self._slot_seconds = self._slot_seconds * (1 - 1 / MEMORY) + self._since
        self._weights = self._weights * (1 - 1 / MEMORY) + 1
        self._since = 0.0

    def per_slot(self, now: float) -> float | None:
        """Completions a second of a slot that is never empty; None while too little is known."""
        self._advance(now)
        measured = self._slot_seconds + self._since
        return self._weights / measured if measured and self._completions >= FEWEST else None

    def _advance(self, now: float) -> None:
        self._since += self._held * (now - self._changed_at)
        self._changed_at = now
