"""The limits of one run: steps, tokens, seconds, calls to outside services. Nothing is started beyond a limit.

It does not know what a step is; the caller reports each step before taking it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from models.chat import TokenUsage


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of one run."""

    max_steps: int = 8
    max_tokens: int = 8192
    max_s: float = 30.0
    max_outside_calls: int = 10


class LimitReached(Exception):
    """A run has reached a limit; `limit` names the field of `RunLimits`."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"the run has used up {limit}")
        self.limit = limit


class RunBudget:
    """The remaining part of a run's limits.

    Args:
        limits: of the run.
        clock: monotonic seconds.
        on_outside_call: called before each call to a service outside.

    """

    def __init__(
        self, limits: RunLimits, clock: Callable[[], float], on_outside_call: Callable[[], None] = lambda: None
    ) -> None:
        self.limits = limits
        self._on_outside_call = on_outside_call
        self._clock = clock
        self._ends_at_s = clock() + limits.max_s
        self.steps = 0
        self.outside_calls = 0
        self.usage = TokenUsage()

    @property
    def left_s(self) -> float:
        """Remaining seconds; 0 after the time limit."""
        return max(self._ends_at_s - self._clock(), 0.0)

    @property
    def left_tokens(self) -> int:
        """Remaining tokens, at least 0."""
        return max(self.limits.max_tokens - self.usage.prompt_tokens - self.usage.completion_tokens, 0)

    def take_step(self) -> None:
        """Begin a step; raises LimitReached."""
        if self.left_s <= 0:
            raise LimitReached("max_s")
        if self.left_tokens <= 0:
            raise LimitReached("max_tokens")
        if self.steps >= self.limits.max_steps:
            raise LimitReached("max_steps")
        self.steps += 1

    def take_outside_call(self) -> None:
        """Begin a call to a service outside; raises LimitReached."""
        if self.outside_calls >= self.limits.max_outside_calls:
            raise LimitReached("max_outside_calls")
        if self.left_s <= 0:
            raise LimitReached("max_s")
        self.outside_calls += 1
        self._on_outside_call()

    def spend(self, usage: TokenUsage) -> None:
        """Count the tokens of a model call."""
        self.usage = self.usage + usage
