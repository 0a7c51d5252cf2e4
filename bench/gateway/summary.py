"""Summarises the rounds of `bench.gateway`: the latency that each side adds, its cost, and ratios.

Added latency is a side's percentile minus the upstream's own in the same rounds. Intervals are 95 % bootstraps over
whole rounds (Efron, 1979; the machine drifts, so requests of one round are not independent).
Pure functions.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from bench.gateway.rounds import Condition, Sample
from bench.percentiles import percentile, percentiles

RESAMPLES = 1000
DIRECT, AGAIN, ON, OFF, LITELLM = "direct", "direct, again", "Bondhu, all on", "Bondhu, all off", "LiteLLM"
SIDES = (DIRECT, AGAIN, ON, OFF, LITELLM)
Rounds = Mapping[int, Sample]
Statistic = Callable[[Sequence[int]], float | None]  # of the rounds that were drawn


def summarise(samples: Sequence[Sample], seed: int) -> list[dict[str, Any]]:
    """One entry a condition, with each side's numbers and how Bondhu's compare with LiteLLM's."""
    dice = random.Random(seed)
    ordered = sorted(
        dict.fromkeys(each.condition for each in samples), key=lambda it: (it.stream, not it.rate_per_s, it.rate_per_s)
    )
    return [_condition(it, [each for each in samples if each.condition == it], dice) for it in ordered]


def _condition(condition: Condition, samples: Sequence[Sample], dice: random.Random) -> dict[str, Any]:
    rounds: dict[str, dict[int, Sample]] = {}
    for each in sorted(samples, key=lambda it: SIDES.index(it.side)):
        rounds.setdefault(each.side, {})[each.round] = each
    figures: dict[str, Any] = {
        "name": condition.name,
        "stream": condition.stream,
        "rate_per_s": condition.rate_per_s or None,
        "sides": {side: _side(mine, condition) for side, mine in rounds.items()},
    }
    if condition.rate_per_s:
        figures["added_ms"] = {
            side: _added(mine, rounds[DIRECT], condition, dice)
            for side, mine in rounds.items()
            if side != DIRECT and figures["sides"][side]["keeps_up"]
        }
    if LITELLM in rounds:
        figures["of_litellm"] = {
            side: _ratios(rounds[side], rounds[LITELLM], rounds[DIRECT], condition, dice)
            for side in (ON, OFF)
            if side in rounds
            and (not condition.rate_per_s or all(figures["sides"][each]["keeps_up"] for each in (side, LITELLM)))
        }
    return figures


def _side(rounds: Rounds, condition: Condition) -> dict[str, Any]:
    blocks = list(rounds.values())
    errors: dict[str, int] = {}
    for each in blocks:
        for what, count in each.seen.errors.items():
            errors[what] = errors.get(what, 0) + count
    rates = [round(each.seen.requests / each.seen.duration_s, 2) for each in blocks]
    roles = dict.fromkeys(role for each in blocks for role in each.cpu_s)
    return {
        "requests": sum(each.seen.requests for each in blocks),
        "errors": errors,
        "keeps_up": all(each.keeps_up for each in blocks) if condition.rate_per_s else None,
        "requests_per_s": median(rates),
        "requests_per_s_rounds": rates,
        "e2e_ms": percentiles([value for each in blocks for value in each.seen.e2e_ms]),
        "ttft_ms": percentiles([value for each in blocks for value in each.seen.ttft_ms]),
        "sent_late_ms": percentiles([value for each in blocks for value in each.seen.late_ms]),
        "load_generator_cpu_share": round(median(each.seen.cpu_share for each in blocks), 3),
        "cpu_ms_a_request": {
            role: round(median(1000 * each.cpu_s.get(role, 0.0) / max(1, each.seen.answered) for each in blocks), 3)
            for role in roles
        },
    }


def _added(mine: Rounds, direct: Rounds, condition: Condition, dice: random.Random) -> dict[str, Any]:
    numbers = sorted(mine.keys() & direct.keys())
    found: dict[str, Any] = {}
    for kind in ("e2e_ms", "ttft_ms") if condition.stream else ("e2e_ms",):
        for share in (50, 99):
            statistic = partial(_difference, mine, direct, kind, share)
            found[f"{kind.removesuffix('_ms')}_p{share}"] = _with_interval(statistic, numbers, dice)
    return found


def _ratios(
    mine: Rounds, litellm: Rounds, direct: Rounds, condition: Condition, dice: random.Random
) -> dict[str, dict[str, float]]:
    """Bondhu over LiteLLM: added latency (at a rate), or requests/s and requests a processor second."""
    numbers = sorted(mine.keys() & litellm.keys() & direct.keys())

    def added(share: int) -> Statistic:
        def of(drawn: Sequence[int]) -> float | None:
            theirs = _difference(litellm, direct, "e2e_ms", share, drawn)
            ours = _difference(mine, direct, "e2e_ms", share, drawn)
            return None if not theirs or ours is None else ours / theirs

        return of

    def per_second(drawn: Sequence[int]) -> float | None:
        theirs = sum(litellm[number].seen.requests for number in drawn)
        return sum(mine[number].seen.requests for number in drawn) / theirs if theirs else None

    def per_cpu_second(drawn: Sequence[int]) -> float | None:
        theirs = median(_per_cpu_second(litellm[number]) for number in drawn)
        return median(_per_cpu_second(mine[number]) for number in drawn) / theirs if theirs else None

    statistics: dict[str, Statistic] = (
        {"added_p50": added(50), "added_p99": added(99)}
        if condition.rate_per_s
        else {"requests_per_s": per_second, "requests_per_cpu_s": per_cpu_second}
    )
    return {name: _with_interval(statistic, numbers, dice) for name, statistic in statistics.items()}


def _difference(mine: Rounds, direct: Rounds, kind: str, share: int, drawn: Sequence[int]) -> float | None:
    ours, theirs = (
        percentile([value for number in drawn for value in getattr(side[number].seen, kind)], share)
        for side in (mine, direct)
    )
    return None if ours is None or theirs is None else ours - theirs


def _with_interval(statistic: Statistic, numbers: Sequence[int], dice: random.Random) -> dict[str, Any]:
    value = statistic(numbers)
    drawn = (statistic(dice.choices(numbers, k=len(numbers))) for _ in range(RESAMPLES))
    found = sorted(each for each in drawn if each is not None)
    if value is None or not found:
        return {"value": None, "low": None, "high": None}
    low, high = found[int(len(found) * 0.025)], found[int(len(found) * 0.975)]
    return {"value": round(value, 3), "low": round(low, 3), "high": round(high, 3)}


def _per_cpu_second(sample: Sample) -> float:
    """Requests that a second of the side's own processes serves; the upstream's time is everybody's."""
    spent = sum(cpu_s for role, cpu_s in sample.cpu_s.items() if role not in ("stub", "engine"))
    return sample.seen.answered / spent if spent else 0.0
