"""Summarises measurements: percentiles, and ratios within a round. Pure functions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.percentiles import percentiles
from bench.serving.measure import SIDES, Measurement

Select = Callable[[Measurement], float]


@dataclass(frozen=True)
class Ratio:
    """One side over another, round by round: the median, and the least and greatest."""

    median: float
    low: float
    high: float
    rounds: list[float]


def ratio(measurements: Iterable[Measurement], side: str, base: str, select: Select) -> Ratio:
    """`side` over `base` in each round of one condition."""
    found = {(each.side, each.round): select(each) for each in measurements}
    rounds = [
        round(found[side, number] / found[base, number], 4)
        for name, number in sorted(found)
        if name == side and found.get((base, number))
    ]
    return Ratio(round(median(rounds), 4), min(rounds), max(rounds), rounds)


def requests_per_s(each: Measurement) -> float:
    """What most ratios are of."""
    return each.requests_per_s


def summarise(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """One entry a condition (streamed or not, concurrency): each side's numbers, and the ratios between sides."""
    conditions = dict.fromkeys((each.stream, each.concurrency) for each in measurements)
    return [
        _condition([each for each in measurements if (each.stream, each.concurrency) == condition])
        for condition in conditions
    ]


def _condition(group: list[Measurement]) -> dict[str, Any]:
    sides = {side: _side([each for each in group if each.side == side]) for side in SIDES}
    return {
        "stream": group[0].stream,
        "concurrency": group[0].concurrency,
        "sides": sides,
        "requests_per_s_ratios": {
            f"{side}/{base}": asdict(ratio(group, side, base, requests_per_s))
            for side, base in (("gateway", "bare"), ("control", "bare"), ("gateway", "alone"), ("bare", "alone"))
        },
        "added_p50_ms": {
            f"{side}-{base}": round(sides[side]["e2e_ms"]["p50"] - sides[base]["e2e_ms"]["p50"], 3)
            for side, base in (("gateway", "bare"), ("control", "bare"), ("gateway", "alone"))
        },
    }


def _side(blocks: list[Measurement]) -> dict[str, Any]:
    roles = dict.fromkeys(role for each in blocks for role in each.cpu_ms)
    errors: dict[str, int] = {}
    for each in blocks:
        for what, count in each.seen.errors.items():
            errors[what] = errors.get(what, 0) + count
    return {
        "requests": sum(each.seen.requests for each in blocks),
        "errors": errors,
        "requests_per_s": round(median(each.requests_per_s for each in blocks), 2),
        "requests_per_s_rounds": [round(each.requests_per_s, 2) for each in blocks],
        "output_tokens_per_s": round(median(each.output_tokens_per_s for each in blocks), 1),
        "e2e_ms": percentiles([value for each in blocks for value in each.seen.e2e_ms]),
        "ttft_ms": percentiles([value for each in blocks for value in each.seen.ttft_ms]),
        "inter_token_ms": percentiles([value for each in blocks for value in each.seen.inter_token_ms]),
        "load_generator_cpu_share": round(median(each.seen.cpu_share for each in blocks), 3),
        "cpu_ms_a_request": {
            role: round(median(each.cpu_ms.get(role, 0.0) for each in blocks), 3)
            for role in roles
            if any(each.cpu_ms.get(role, 0.0) for each in blocks)
        },
    }
