"""Measures memory, throughput and errors of a whole stack over time: `python -m bench.soak [--minutes 15]`.

The stack of `make up`, with the default model, the embedder and the worker; people who talk with memory. Each ten
seconds the PSS of every role, what was answered and what failed. The slope is that of the second half, with its 95 %
interval. `--set NAME=VALUE` are settings of the stack or variables of its processes, to compare.
Writes bench/results/soak.json, .md and .png (or NAME in place of soak).
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from bench import processes
from bench.environment import RESULTS, commit, machine, versions, write_result
from bench.percentiles import percentiles
from bench.soak import report
from bench.soak.load import People
from bench.stack import Bondhu

INTERVAL_S = 10.0


def sample(bondhu: Bondhu, people: People | None, began: float) -> dict[str, Any]:
    """One line of the result."""
    usage = processes.usage(bondhu.roles())
    line: dict[str, Any] = {
        "at_s": round(time.monotonic() - began, 1),
        "pss_mb": {role: each.pss_mb for role, each in usage.items()},
        "total_mb": round(sum(each.pss_mb for each in usage.values()), 1),
        "cpu_s": round(sum(each.cpu_s for each in usage.values()), 1),
    }
    if people is not None:
        tally = people.take()
        line |= {"answered": tally.answered, "tokens": tally.tokens, "errors": dict(tally.errors)}
        line["latency_ms"] = percentiles([1000 * each for each in tally.latencies_s])
    return line


def main(
    minutes: Annotated[float, typer.Option(help="Of load.")] = 15,
    people: Annotated[int, typer.Option(help="Who talk at once.")] = 8,
    pause_s: Annotated[float, typer.Option(help="Mean wait between an answer and the next message.")] = 1.0,
    memory: Annotated[bool, typer.Option(help="Whether the chats are remembered.")] = True,
    name: Annotated[str, typer.Option(help="Of the result.")] = "soak",
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of the environment.")] = None,
) -> None:
    """Measure, and write it down."""
    overrides = dict(each.split("=", 1) for each in set_ or ())
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "versions": versions(), "minutes": minutes, "people": people}
    result |= {"pause_s": pause_s, "memory": memory, "set": overrides, "samples": []}
    with TemporaryDirectory() as directory:
        bondhu = Bondhu(Path(directory), overrides)
        try:
            bondhu.start()
            target = bondhu.gateway()
            result["model"] = target.model
            began = time.monotonic()
            result["before"] = sample(bondhu, None, began)
            typer.echo(f"first token after {bondhu.first_token_s:.0f} s, {result['before']['total_mb']:.0f} MB")
            talkers = People(target.url, target.key, people, pause_s, memory=memory)
            talkers.start()
            while time.monotonic() - began < 60 * minutes:
                time.sleep(INTERVAL_S)
                line = sample(bondhu, talkers, began)
                result["samples"].append(line)
                typer.echo(
                    f"{line['at_s']:6.0f} s {line['total_mb']:6.0f} MB, {line['answered']} answered, "
                    f"{line['errors'] or 'no errors'}"
                )
                _write(result, name)  # a soak that is cut short has a result too
            talkers.stop()
        finally:
            bondhu.stop()
    report.plot(result, RESULTS / f"{name}.png")
    typer.echo(report.markdown(result))


def _write(result: dict[str, Any], name: str) -> None:
    write_result(name, result, report.markdown(result) + "\n")


if __name__ == "__main__":
    typer.run(main)
