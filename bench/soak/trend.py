"""The slope of measured values over time, with its interval. Pure functions.

Least squares; the interval is that of the slope by Student's t. Samples of a process that follow each other are not
independent, so the interval is too narrow rather than too wide: `every` thins them out.
https://en.wikipedia.org/wiki/Simple_linear_regression
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 8: 2.31, 10: 2.23, 15: 2.13, 20: 2.09, 30: 2.04}
T_MANY = 1.96


@dataclass(frozen=True)
class Slope:
    """Change of the value per unit of time, and the half width of its 95 % interval."""

    value: float
    half_width: float


def slope(times: Sequence[float], values: Sequence[float], every: int = 1) -> Slope | None:
    """The slope of `values` over `times`, from every `every`-th sample; None with fewer than three."""
    times, values = times[::every], values[::every]
    count = len(times)
    if count < 3:
        return None
    mean_t, mean_v = sum(times) / count, sum(values) / count
    spread = sum((at - mean_t) ** 2 for at in times)
    value = sum((at - mean_t) * (v - mean_v) for at, v in zip(times, values, strict=True)) / spread
    rest = sum((v - mean_v - value * (at - mean_t)) ** 2 for at, v in zip(times, values, strict=True))
    error = math.sqrt(rest / (count - 2) / spread)
    return Slope(value, _t(count - 2) * error)


def _t(freedom: int) -> float:
    smaller = [known for known in T_95 if known <= freedom]
    return T_MANY if freedom > max(T_95) else T_95[max(smaller)]
