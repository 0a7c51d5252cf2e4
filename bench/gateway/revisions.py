"""The gateway of two checkouts in turn, before, after, after, before: is the later one slower?

    git worktree add ../before REVISION && make -C ../before .venv/.installed-cpu
    python -m bench.gateway.revisions ../before [--after .] [--rounds 2]

Each run is `python -m bench.gateway` of that checkout, with its own environment, before its own stub. What the gateway
adds to the stub's answer is compared, and its processor time: both are differences within one run, so that a machine
that slows down between two runs weighs on both sides. Two runs of the same checkout differ too; that spread is shown.
"""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import matplotlib.pyplot as plt
import orjson
import typer
from rich.console import Console

from bench.environment import RESULTS, machine
from bench.markdown import table

SIDES = ("Bondhu, all on", "Bondhu, all off")
ORDER = ("before", "after", "after", "before")
NAME = "revisions-run"
console = Console(stderr=True)


def main(
    before: Annotated[Path, typer.Argument(help="The earlier checkout, installed in its .venv.")],
    after: Annotated[Path, typer.Option(help="The later one.")] = Path(),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each run.")] = 2,
    rate: Annotated[float, typer.Option(min=1, help="Requests/s.")] = 50,
) -> None:
    """Measure both, write bench/results/revisions.{json,md,png}."""
    checkouts = {"before": before.resolve(), "after": after.resolve()}
    runs: dict[str, list[dict[str, Any]]] = {"before": [], "after": []}
    for number, which in enumerate(ORDER, 1):
        with console.status(f"{which} (run {number} of {len(ORDER)})"):
            runs[which].append(_run(checkouts[which], rounds, rate))
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "commits": {which: of[0]["commit"] for which, of in runs.items()},
        "load_average_after": {which: [run["load_average_after"] for run in of] for which, of in runs.items()},
        "figures": figures(runs),
    }
    (RESULTS / "revisions.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (RESULTS / "revisions.md").write_text(markdown(result))
    plot(result, RESULTS / "revisions.png")
    typer.echo(markdown(result))


def figures(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row a measured thing: its name, the values of both checkouts' runs, and the ratio of their means.

    Units: ms for what is added and for processor time a request, requests/s at saturation.
    """
    rows: dict[str, dict[str, Any]] = {}
    for which, of in runs.items():
        for run in of:
            for condition in run["conditions"]:
                for side in SIDES:
                    for thing, value in _things(condition, side):
                        row = rows.setdefault(thing, {"what": thing, "before": [], "after": []})
                        row[which].append(value)
    return [row | {"ratio": mean(row["after"]) / mean(row["before"])} for row in rows.values()]


def _things(condition: dict[str, Any], side: str) -> list[tuple[str, float]]:
    seen, name = condition["sides"][side], f"{condition['name']}, {side}"
    cpu = (f"{name}: gateway CPU, ms a request", seen["cpu_ms_a_request"]["gateway"])
    if condition["rate_per_s"]:
        added = condition["added_ms"][side]
        return [(f"{name}: added at p50, ms", added["e2e_p50"]["value"]), cpu]
    return [(f"{name}: requests/s", seen["requests_per_s"]), cpu]


def markdown(result: dict[str, Any]) -> str:
    """The table of a result."""
    commits = result["commits"]
    rows = [
        [row["what"], *(" ".join(f"{value:.2f}" for value in row[which]) for which in commits), f"{row['ratio']:.2f}"]
        for row in result["figures"]
    ]
    heads = ["", f"before ({commits['before'][:8]})", f"after ({commits['after'][:8]})", "after / before"]
    return table(heads, rows)


def plot(result: dict[str, Any], path: Path) -> None:
    """Ratios after / before, with the spread of the runs of each as error bars."""
    rows = result["figures"]
    figure, axes = plt.subplots(figsize=(9, 0.4 * len(rows) + 1))
    for index, row in enumerate(reversed(rows)):
        least = min(row["after"]) / max(row["before"])
        largest = max(row["after"]) / min(row["before"])
        axes.plot([least, largest], [index, index], color="tab:grey")
        axes.plot(row["ratio"], index, "o", color="tab:blue")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row["what"] for row in reversed(rows)], fontsize=7)
    axes.set_xlabel("after / before")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _run(checkout: Path, rounds: int, rate: float) -> dict[str, Any]:
    command = [".venv/bin/python", "-m", "bench.gateway", f"--rates={rate:g}", f"--rounds={rounds}", f"--name={NAME}"]
    environ = {**os.environ, "PIP_NO_INDEX": "1", "BONDHU__MODELS__ACTIVE": "bondhu-demo"}  # without LiteLLM
    subprocess.run(command, cwd=checkout, env=environ, check=True, capture_output=True)
    files = sorted((checkout / "bench/results").glob(f"{NAME}.*"))
    try:
        result: dict[str, Any] = json.loads((checkout / f"bench/results/{NAME}.json").read_text())
        return result
    finally:
        for file in files:
            file.unlink()


if __name__ == "__main__":
    typer.run(main)
