"""Sends a kind of request at rising rates, open loop, until one is not held."""

import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bench.b2s.kinds import Kind
from bench.load.arrivals import instants, put_on
from bench.load.connection import Connection
from bench.percentiles import percentiles

ERRORS_HELD = 0.01  # share of requests; more is not held


@dataclass(frozen=True)
class Point:
    """One rate: what was sent, what came of it, latencies from the drawn arrival in ms."""

    rate_per_s: float
    duration_s: float
    sent: int
    answered: int
    errors: dict[str, int]
    latency_ms: dict[str, float | None]
    late_ms: dict[str, float | None]  # how much later than drawn the generator sent them
    held: bool
    cpu_s: dict[str, float]  # of each container, throttled time included
    memory_mib: dict[str, float]


async def point(url: str, key: str, kind: Kind, rate_per_s: float, seed: int) -> dict[str, Any]:
    """One rate of a kind; the fields of a Point but for what containers used."""
    dice = random.Random(seed)
    connections = [await Connection.open(url) for _ in range(4)]
    began = time.monotonic() + 0.1
    due_at = [began + at for at in instants(rate_per_s, kind.duration_s, dice)]
    results = await put_on(url, kind.head(key), kind.bodies(dice), due_at, connections)
    errors = Counter(f"status {each.status}" for each in results.exchanges if each.status != 200)
    errors.update(results.broken)
    latencies = [1000 * (each.ended_at - each.sent_at) for each in results.exchanges if each.status == 200]
    latency_ms = percentiles(latencies)
    p95 = latency_ms["p95"]
    is_held = p95 is not None and p95 <= 1000 * kind.bound_s and sum(errors.values()) <= ERRORS_HELD * len(due_at)
    return {
        "rate_per_s": round(rate_per_s, 3),
        "duration_s": kind.duration_s,
        "sent": len(due_at),
        "answered": len(latencies),
        "errors": dict(errors),
        "latency_ms": latency_ms,
        "late_ms": percentiles([1000 * late_s for late_s in results.late_s]),
        "held": is_held,
    }
