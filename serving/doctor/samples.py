"""Metrics of one moment, and what happened between two: sums, shares, quantiles."""

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
        """Those of a registry's families; only our own."""
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): float(sample.value)
                for family in families
                if family.name.startswith("bondhu_")
                for sample in family.samples
            }
        )

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        selected = set(labels.items())
        return sum(value for (found, has), value in self.values.items() if found == name and selected <= has)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums for each value of a label."""
        sums: dict[str, float] = defaultdict(float)
        for (found, has), value in self.values.items():
            if found == name:
                sums[dict(has).get(label, "")] += value
        return dict(sums)

    def since(self, before: "Samples") -> "Samples":
        """What was added; of a counter that began anew, all of it."""
        added = {}
        for key, value in self.values.items():
            old = before.values.get(key, 0.0)
            added[key] = value - old if value >= old else value
        return Samples(added)

    def quantile(self, name: str, q: float, **labels: str) -> float | None:
        """Of a histogram, as Prometheus' histogram_quantile has it; None without observations."""
        selected = set(labels.items())
        buckets: dict[float, float] = defaultdict(float)
        for (found, has), value in self.values.items():
            if found == f"{name}_bucket" and selected <= has:
                buckets[float(dict(has)["le"])] += value
        bounds = sorted(buckets)
        total = buckets.get(math.inf, 0.0)
        if not total:
            return None
        rank, low, below = q * total, 0.0, 0.0
        for bound in bounds:
            if buckets[bound] >= rank:
                if math.isinf(bound):
                    return low
                inside = buckets[bound] - below
                return low + (bound - low) * ((rank - below) / inside if inside else 1.0)
            low, below = bound, buckets[bound]
        return low
