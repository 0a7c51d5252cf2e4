"""The gateway against bare vLLM: same model, arguments, environment and load, in one run.

    python -m bench.serving [--quick]

Starts and stops a Bondhu of its own; nothing else should run on the machine. Sides: see `bench.serving.measure`.
"""

import os
import signal
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import processes
from bench.environment import RESULTS, commit, machine, versions, write_result
from bench.serving import report, summary
from bench.serving.measure import Measurement, Plan, measure
from bench.stack import Bondhu, StartFailed, VllmAlone, generates

console = Console(stderr=True)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Two short rounds: a look, not a result.")] = False,
    concurrency: Annotated[str, typer.Option(help="Requests at a time, comma-separated.")] = "1,8,32",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of every condition.")] = 6,
    duration_s: Annotated[float, typer.Option(min=0.5, help="Counted seconds of a block.")] = 3.0,
    model: Annotated[str, typer.Option(help="A file of configs/models; the active one by default.")] = "",
    name: Annotated[str, typer.Option(help="Results go to bench/results/NAME.{json,md,png}.")] = "serving",
) -> None:
    """Measure Bondhu's gateway against bare vLLM: throughput, latency, start-up and memory."""
    plan = Plan(concurrencies=tuple(int(each) for each in concurrency.split(",")), rounds=rounds, duration_s=duration_s)
    if quick:
        plan, name = Plan(plan.concurrencies, rounds=2, warmup_s=0.3, duration_s=1.5), f"{name}-quick"
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that everything is stopped
    overrides = {"BONDHU__MODELS__ACTIVE": model} if model else {}
    load = os.getloadavg()[0]
    if load > 0.5:
        console.print(f"[yellow]warning[/yellow] other work runs on this machine (load average {load:.1f})")
    with tempfile.TemporaryDirectory(prefix="bondhu-bench-") as directory:
        try:
            result = run(plan, Path(directory), overrides)
        except StartFailed as problem:
            console.print(f"error: {problem}", style="red", markup=False, highlight=False)
            raise typer.Exit(1) from None
    write_result(name, result, report.markdown(result))
    report.plot(result, RESULTS / f"{name}.png")
    typer.echo(report.markdown(result))
    console.print(f"written: bench/results/{name}.json, .md, .png")


def run(plan: Plan, directory: Path, overrides: dict[str, str]) -> dict[str, Any]:
    """Start both, measure, stop both; the result as plain data."""
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"plan": asdict(plan), "machine": machine(), "versions": versions()}
    bondhu = Bondhu(directory, overrides)
    alone: VllmAlone | None = None
    try:
        with console.status("bondhu up"):
            bondhu.start()
        console.print(f"first token after {bondhu.first_token_s:.1f} s")
        time.sleep(5)  # what start-up left to do
        roles = bondhu.roles()
        result |= {
            "first_token_s": round(bondhu.first_token_s, 2),
            "memory": {role: asdict(each) for role, each in processes.usage(roles).items()},
        }
        (api_server,) = roles["vLLM API server"]
        alone = VllmAlone(api_server, bondhu.settings.models.active, directory / "alone.log")
        spec = bondhu.settings.catalogue[bondhu.settings.models.active]
        result["model"] = {
            "id": spec.id,
            "quantization": spec.quantization,
            "command": _presentable(alone.command, bondhu.settings.root),
            "environment": spec.env,
            "gateway_workers": bondhu.settings.gateway.workers,
        }
        with console.status("vLLM alone"):
            alone.start()
        generates(bondhu.engine())
        measurements = list(_with_progress(plan, bondhu, alone))
    finally:
        with console.status("stopping"):
            if alone is not None:
                alone.stop()
            bondhu.stop()
    return result | {"load_average_after": os.getloadavg(), "conditions": summary.summarise(measurements)}


def _with_progress(plan: Plan, bondhu: Bondhu, alone: VllmAlone) -> list[Measurement]:
    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=plan.blocks())
        done = []
        for each in measure(plan, bondhu, alone, lambda what: progress.update(task, description=what)):
            done.append(each)
            progress.advance(task)
            if each.seen.errors:
                console.print(f"[yellow]{each.side}, {each.concurrency} at a time: {each.seen.errors}[/yellow]")
        return done


def _presentable(command: list[str], root: Path) -> list[str]:
    """The command line with its paths as seen from the repository."""
    return ["python", *(word.removeprefix(f"{root}/") for word in command[1:])]


if __name__ == "__main__":
    typer.run(main)
