"""Regret and diversity of the ranking of songs: `python -m bench.ranking`; JSON, Markdown and a picture.

PEOPLE simulated people (`bench.ranking.people`), ROUNDS songs each. Intervals are 95 %, of the mean over people.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from agents.ranking.rank import LAMBDA, MAX_PER_GROUP
from bench.environment import RESULTS, commit, machine, write_result
from bench.markdown import table
from bench.ranking.people import (
    CANDIDATES,
    LIST,
    Person,
    Policy,
    by_chance,
    by_popularity,
    greedy,
    likeness,
    list_of,
    ours,
    play,
)

PEOPLE, ROUNDS = 100, 30
Z = 1.96
OURS, GREEDY, POPULAR, CHANCE = "ranking", "greedy", "popularity", "chance"


def main() -> None:
    """Measure, write JSON, Markdown and the picture."""
    result = measure(PEOPLE, ROUNDS)
    write_result("ranking", result, markdown(result))
    plot(result, RESULTS / "ranking.png")
    print(markdown(result))


def measure(people_count: int, rounds: int) -> dict[str, Any]:
    """Have every policy recommend to everybody."""
    people = [Person(seed) for seed in range(people_count)]
    policies: dict[str, Policy] = {
        OURS: ours,
        GREEDY: greedy,
        POPULAR: by_popularity(people),
        CHANCE: by_chance,
    }
    regrets: dict[str, list[list[float]]] = {name: [] for name in policies}
    lists: dict[str, list[float]] = {"shown": [], "by score alone": []}
    artists: dict[str, list[int]] = {name: [] for name in lists}
    for seed, person in enumerate(people):
        for name, policy in policies.items():
            regret, signals = play(person, policy, _rng(seed), rounds)
            regrets[name].append(regret)
            if name == OURS:
                shown = {
                    "shown": list_of(signals, _rng(seed), lambda_=LAMBDA, max_per_group=MAX_PER_GROUP),
                    "by score alone": list_of(signals, _rng(seed), lambda_=1.0, max_per_group=LIST),
                }
                for kind, candidates in shown.items():
                    lists[kind].append(likeness(candidates))
                    artists[kind].append(len({each.group for each in candidates}))
    return {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "people": people_count,
        "rounds": rounds,
        "songs": len(CANDIDATES),
        "regret": {
            name: [_mean([each[number] for each in found]) for number in range(rounds)]
            for name, found in regrets.items()
        },
        "last_ten": {name: _mean([float(np.mean(each[-10:])) for each in found]) for name, found in regrets.items()},
        "all": {name: _mean([float(np.mean(each)) for each in found]) for name, found in regrets.items()},
        "list": {
            kind: {"songs": LIST, "likeness": _mean(found), "artists": _mean([float(each) for each in artists[kind]])}
            for kind, found in lists.items()
        },
    }


def _rng(seed: int) -> random.Random:
    return random.Random(1000 + seed)


def _mean(values: Sequence[float]) -> dict[str, float]:
    """With its 95 % interval, by the normal distribution."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": round(mean, 4), "low": round(mean - Z * error, 4), "high": round(mean + Z * error, 4)}


def markdown(result: dict[str, Any]) -> str:
    """The tables of a result."""

    def shown(value: dict[str, float]) -> str:
        return f"{value['mean']:.3f} ({value['low']:.3f}-{value['high']:.3f})"

    regret = table(
        ["policy", f"first {result['rounds']}", "last 10"],
        [[name, shown(result["all"][name]), shown(result["last_ten"][name])] for name in result["all"]],
    )
    lists = table(
        ["list of 5", "mean cosine", "artists"],
        [[name, shown(found["likeness"]), shown(found["artists"])] for name, found in result["list"].items()],
    )
    return "\n".join(
        [
            "# Ranking of songs: simulated people",
            "",
            f"Commit {result['commit']}, {result['at']}; {result['people']} people, {result['rounds']} songs each of "
            f"{result['songs']}. Mean regret (95 % interval): what the best song's probability of being liked has over "
            "the chosen one's.",
            "",
            regret,
            "",
            lists,
            "",
        ]
    )


def plot(result: dict[str, Any], file: Path) -> None:
    """Regret by round."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    rounds = range(1, result["rounds"] + 1)
    for name, values in result["regret"].items():
        axes.plot(rounds, [each["mean"] for each in values], label=name)
        axes.fill_between(rounds, [each["low"] for each in values], [each["high"] for each in values], alpha=0.2)
    axes.set_xlabel("song")
    axes.set_ylabel("regret (mean, 95 % interval)")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()
