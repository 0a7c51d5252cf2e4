"""When a replica's engine may sleep, when it must wake, and how long it takes to be ready.

It knows neither Ray nor engines. All times are monotonic seconds.
"""

from serving.engines.wire import ReplicaState


class Rest:
    """The use of one replica.

    Attributes:
        idle_s: time without a request after which it sleeps; None: never.
        removes: whether Ray removes idle replicas, which then do not sleep.

    """

    def __init__(self) -> None:
        self.idle_s: float | None = None
        self.removes = False
        self._used_s = float("-inf")
        self._asleep_s = float("inf")
        self._starts_s = 0.0
        self._took_s = 0.0

    @property
    def start_s(self) -> float:
        """How long the last start took; 0: none has ended."""
        return round(self._took_s, 1)

    def used(self, seconds_ago: float | None, now_s: float) -> None:
        """Note when the last request came; None: none ever did."""
        if seconds_ago is not None:
            self._used_s = max(self._used_s, now_s - seconds_ago)

    def starts(self, now_s: float) -> None:
        """The engine starts, or wakes."""
        self._starts_s = now_s

    def started(self, now_s: float) -> None:
        """It generates; being started counts as use."""
        self._took_s, self._used_s = now_s - self._starts_s, max(self._used_s, now_s)
        self._asleep_s = float("inf")

    def falls_asleep(self, now_s: float) -> None:
        """The engine sleeps from now on."""
        self._asleep_s = now_s

    def is_due(self, now_s: float) -> bool:
        """Whether it has been idle for long enough to sleep."""
        return self.idle_s is not None and now_s - self._used_s >= self.idle_s

    def is_over(self, now_s: float) -> bool:
        """Whether nobody needs the replica: it is idle, or there is no rule that says when it is not."""
        return self.idle_s is None or self.is_due(now_s)

    def was_used_since_asleep(self) -> bool:
        """Whether a request came after it fell asleep."""
        return self._used_s > self._asleep_s

    def ready_in_s(self, state: ReplicaState, now_s: float) -> float:
        """How long it takes until it is ready, by its last start; 0 if it is, or that is not known."""
        if state == "asleep":
            return self.start_s
        if state in ("starting", "waking"):
            return round(max(0.0, self._took_s - (now_s - self._starts_s)), 1)
        return 0.0
