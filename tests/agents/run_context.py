"""The context of a run, as tests of agents make it."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

from agents.base import RunContext
from agents.budget import RunBudget, RunLimits
from storage.memory.owner import Owner

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
LIMITS = RunLimits()
MakeContext = Callable[..., RunContext]


def context_maker() -> MakeContext:
    """What makes contexts of one person and conversation; each part can be another."""
    ids = count(1)

    def make(limits: RunLimits = LIMITS, *, seed: int = 1, **parts: Any) -> RunContext:
        plain: dict[str, Any] = {
            "owner": Owner("app", "mina"),
            "conversation": "c1",
            "budget": RunBudget(limits, time.monotonic),
            "now": lambda: NOW,
            "rng": random.Random(seed),
            "new_id": lambda: f"id{next(ids)}",
        }
        return RunContext(**(plain | parts))

    return make
