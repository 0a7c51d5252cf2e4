"""Percentiles of measured values. Pure functions."""

from collections.abc import Sequence

PERCENTILES = (50, 95, 99)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` percent of `values` lie, interpolated linearly; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    position = (len(ordered) - 1) * share / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (ordered[above] - ordered[below]) * (position - below), 3)


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99."""
    return {f"p{share}": percentile(values, share) for share in PERCENTILES}
