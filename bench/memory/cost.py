"""What memory costs in a chat, before and after a change, in turns: two checkouts, before, after, after, before.

    git worktree add ../before REVISION
    python -m bench.memory.cost ../before [--seconds 60]

The memory service alone (processor time, SQL statements, embedded texts), the embedder alone on both runtimes, and six
clients that chat with memory with a whole stack (`bench.memory.cost_probe`). Both checkouts run in this environment.
Processor time is what to compare: other work on the machine changes it less than it changes chats a second.
Writes bench/results/memory-cost.json, .md and .png.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import matplotlib.pyplot as plt
import typer

from bench.environment import RESULTS, commit, machine, versions, write_result
from bench.markdown import table

PROBE = Path(__file__).with_name("cost_probe.py")
HERE = Path(__file__).resolve().parents[2]
ORDER = ("before", "after", "after", "before")


def probe(checkout: Path, *words: str) -> dict[str, Any]:
    """Run one measurement in a checkout."""
    environ = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = (sys.executable, "-P", str(PROBE), *words)
    done = subprocess.run(command, cwd=checkout, env=environ, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    typer.echo(f"{checkout.name} {' '.join(words)}: {result}")
    return result


def markdown(result: dict[str, Any]) -> str:
    """The tables."""

    def over(kind: str, *keys: str) -> list[str]:
        cells = []
        for side in ("before", "after"):
            values = []
            for run in result[kind][side]:
                value: Any = run
                for key in keys:
                    value = value.get(key, 0)
                values.append(f"{value:g}")
            cells.append(" ".join(values))
        return cells

    heads = ["", "before", "after"]
    service = [
        [f"{database}, {work}: {what}", *over(database, work, what)]
        for database in ("SQLite", "Postgres")
        for work in ("message alone", "message and reply", "chat")
        for what in ("cpu_ms", "statements", "texts")
    ]
    roles = sorted({role for runs in result["stack"].values() for run in runs for role in run["cpu_ms_a_chat"]})
    stack = [[f"CPU of {role}, ms a chat", *over("stack", "cpu_ms_a_chat", role)] for role in roles]
    stack += [
        ["CPU of all, ms a chat", *over("stack", "cpu_ms_a_chat_total")],
        ["chats a second", *over("stack", "chats_per_s")],
        ["p50, s", *over("stack", "latency_s", "p50")],
    ]
    embedder = [
        [name, *(f"{result['embedder'][each][name]:g}" for each in ("torch", "onnx"))]
        for name in result["embedder"]["torch"]
    ]
    parts = [table(heads, service), table(["embedding, ms of CPU", "torch", "onnxruntime"], embedder)]
    return "\n\n".join([*parts, table(heads, stack)] if roles else parts)


def plot(result: dict[str, Any], path: Path) -> None:
    """Processor time before and after: the work in the service, the embedder, and a chat with the whole stack."""
    bars = {
        f"{database}, {work}": [mean(run[work]["cpu_ms"] for run in result[database][side]) for side in ORDER[:2]]
        for database in ("SQLite", "Postgres")
        for work in ("message and reply", "chat")
    }
    torch, onnx = (list(result["embedder"][runtime].values()) for runtime in ("torch", "onnx"))
    bars["a chat's texts in the embedder"] = [torch[0], onnx[1]]
    if result["stack"]["after"]:
        stack = [mean(run["cpu_ms_a_chat_total"] for run in result["stack"][side]) for side in ORDER[:2]]
        bars["a chat, all processes of a stack"] = stack
    figure, axes = plt.subplots(figsize=(8, 3.5))
    for row, values in enumerate(reversed(bars.values())):
        for offset, value, colour in zip((0.2, -0.2), values, ("tab:grey", "tab:blue"), strict=True):
            label = {0.2: "before", -0.2: "after"}[offset] if row == 0 else None
            axes.barh(row + offset, value, 0.38, color=colour, label=label)
            axes.text(value, row + offset, f" {value:.1f}", va="center", fontsize=7)
    axes.set_yticks(range(len(bars)), list(reversed(bars)), fontsize=7)
    axes.set_xlabel("processor time, ms")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(
    before: Annotated[Path, typer.Argument(help="Checkout of the earlier revision.")],
    seconds: Annotated[float, typer.Option(help="Of load in each run of the stack; 0: no stack.")] = 60,
    rounds: Annotated[int, typer.Option(help="Runs of the stack, of before, after, after, before.")] = 4,
) -> None:
    """Measure, and write it down."""
    checkouts = {"before": before.resolve(), "after": HERE}
    result: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    result |= {"versions": versions(), "commit": commit(), "before": _revision(before), "seconds": seconds}
    kinds = ("SQLite", "Postgres", "stack")
    result |= {kind: {"before": [], "after": []} for kind in kinds}
    for database in kinds[:2]:
        for side in ORDER:
            result[database][side].append(probe(checkouts[side], "service", database))
    result["embedder"] = {runtime: probe(HERE, "embedder", runtime) for runtime in ("torch", "onnx")}
    for side in ORDER[: rounds if seconds else 0]:
        result["stack"][side].append(probe(checkouts[side], "stack", str(seconds)))
        _write(result)
    _write(result)
    typer.echo(markdown(result))


def _revision(checkout: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _write(result: dict[str, Any]) -> None:
    write_result("memory-cost", result, markdown(result) + "\n")
    plot(result, RESULTS / "memory-cost.png")


if __name__ == "__main__":
    typer.run(main)
