"""Metrics at one moment, and their differences: sums and quantiles."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Metric

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Values by name and labels."""

    values: Mapping[tuple[str, Labels], float]

    @classmethod
    def of(cls, families: Iterable[Metric]) -> "Samples":
        """Convert a registry's families; only our own metrics are kept."""
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): float(sample.value)
                for family in families
                if family.name.startswith("bondhu_")
                for sample in family.samples
            }
        )

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples with this name and these labels."""
        selected = set(labels.items())
        return sum(value for (metric, present), value in self.values.items() if metric == name and selected <= present)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sum for each value of a label."""
        sums: dict[str, float] = defaultdict(float)
        for (metric, present), value in self.values.items():
            if metric == name:
                sums[dict(present).get(label, "")] += value
        return dict(sums)

    def since(self, earlier: "Samples") -> "Samples":
        """Return the increases; for a counter that was reset, its whole value."""
        increases = {}
        for key, value in self.values.items():
            old = earlier.values.get(key, 0.0)
            increases[key] = value - old if value >= old else value
        return Samples(increases)

    def quantile(self, name: str, q: float, **labels: str) -> float | None:
        """Return a histogram's quantile, as Prometheus' histogram_quantile does; None without observations."""
        selected = set(labels.items())
        buckets: dict[float, float] = defaultdict(float)
        for (metric, present), value in self.values.items():
            if metric == f"{name}_bucket" and selected <= present:
                buckets[float(dict(present)["le"])] += value
        bounds = sorted(buckets)
        total = buckets.get(math.inf, 0.0)
        if not total:
            return None
        rank, low, below = q * total, 0.0, 0.0
        for bound in bounds:
            if buckets[bound] >= rank:
                if math.isinf(bound):
                    return low
                count = buckets[bound] - below
                return low + (bound - low) * ((rank - below) / count if count else 1.0)
            low, below = bound, buckets[bound]
        return low
