"""The gateway against LiteLLM's proxy, in front of the same upstream, in one run: latency, throughput, memory.

    python -m bench.gateway                             in front of a stub that answers at once
    python -m bench.gateway --upstream vllm --rates 1,2 in front of vLLM (starts a Bondhu for its engine)
    python -m bench.gateway --upstream http://HOST:PORT in front of a running engine (its key in BONDHU_BENCH_KEY)

Sides: the upstream itself, twice (the difference is noise); the gateway with everything on, and with everything off
that the configuration can switch off (`bench.gateway.alone`); LiteLLM (`bench.gateway.litellm_proxy`; left out if it
cannot be installed). Rates that the upstream cannot serve mean nothing: for vLLM on two cores choose low ones.
"""

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import processes
from bench.environment import RESULTS, commit, machine, versions, write_result
from bench.gateway import report as rounds_report
from bench.gateway.alone import OFF, ON, USER_HEADER, GatewayAlone
from bench.gateway.litellm_proxy import CannotInstall, LiteLlm, install
from bench.gateway.rounds import Condition, Plan, Sample, Side, measure
from bench.gateway.summary import AGAIN, DIRECT, summarise
from bench.gateway.summary import OFF as ALL_OFF
from bench.gateway.summary import ON as ALL_ON
from bench.gateway.upstream import Upstream, address
from bench.load.process import LoadGenerator
from bench.stack import Bondhu, StartFailed, Target
from serving.config.load import load_settings

VENV = Path(__file__).resolve().parents[2] / "var/litellm"
console = Console(stderr=True)
Proxy = GatewayAlone | LiteLlm


def main(
    upstream: Annotated[str, typer.Option(help="stub, vllm, or the address of an engine.")] = "stub",
    rates: Annotated[str, typer.Option(help="Requests/s, comma-separated.")] = "10,50,100",
    concurrency: Annotated[int, typer.Option(min=1, help="Clients at saturation.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of every condition.")] = 6,
    duration_s: Annotated[float, typer.Option(min=0.5, help="Counted seconds of a block.")] = 5.0,
    first_s: Annotated[float, typer.Option(min=0, help="The stub's time to its first byte, s.")] = 0.0,
    step_s: Annotated[float, typer.Option(min=0.001, help="Between two tokens of the stub's streams, s.")] = 0.002,
    seed: Annotated[int, typer.Option(help="Of arrivals, orders and prompts.")] = 1,
    name: Annotated[str, typer.Option(help="Results go to bench/results/NAME.{json,md,png}.")] = "",
) -> None:
    """Measure what this gateway and LiteLLM add to the same upstream, what they cost and what they get through."""
    os.environ.setdefault("BONDHU__MODELS__ACTIVE", "bondhu-demo")  # the model of `GatewayAlone`
    kinds = [(float(rate), 16) for rate in rates.split(",") if rate] + [(0.0, concurrency)]
    conditions = tuple(Condition(stream, *kind) for stream in (False, True) for kind in kinds)
    plan = Plan(conditions, rounds, duration_s, seed=seed)
    name = name or ("gateway" if upstream == "stub" else "gateway-vllm")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that everything is stopped
    if (load := os.getloadavg()[0]) > 0.5:
        console.print(f"[yellow]warning[/yellow] other work runs on this machine (load average {load:.1f})")
    with tempfile.TemporaryDirectory(prefix="bondhu-bench-") as directory:
        try:
            result = run(plan, Path(directory), upstream, first_s=first_s, step_s=step_s)
        except StartFailed as problem:
            console.print(f"error: {problem}", style="red", markup=False, highlight=False)
            raise typer.Exit(1) from None
    write_result(name, result, rounds_report.markdown(result))
    rounds_report.plot(result, RESULTS / f"{name}.png")
    typer.echo(rounds_report.markdown(result))
    console.print(f"written: bench/results/{name}.json, .md, .png")


def run(plan: Plan, directory: Path, kind: str, *, first_s: float, step_s: float) -> dict[str, Any]:
    """Start all sides, measure, stop them; the result as plain data."""
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "versions": versions(), "plan": asdict(plan), "litellm": None}
    result["upstream"] = {"kind": kind if kind in ("stub", "vllm") else "engine", "first_s": first_s, "step_s": step_s}
    with ExitStack() as open_:
        engine, engine_roles = open_.enter_context(_engine(kind, directory / "stack"))
        behind = Upstream(load_settings(), engine, first_s=first_s, step_s=step_s)
        open_.callback(behind.stop)
        port = behind.directory_port
        proxies: list[Proxy] = [
            GatewayAlone(ALL_ON, directory / "on", port, ON, USER_HEADER),
            GatewayAlone(ALL_OFF, directory / "off", port, OFF),
        ]
        try:
            with console.status("installing LiteLLM"):
                result["litellm"] = install(VENV)
            proxies.append(LiteLlm(VENV, directory / "litellm", behind.target))
        except CannotInstall as problem:
            console.print(f"without LiteLLM, which cannot be installed: {problem}", markup=False)
        for proxy in proxies:
            open_.callback(proxy.stop)
            with console.status(f"starting {proxy.name}"):
                proxy.start()
        generator = LoadGenerator()
        open_.callback(generator.close)
        sides = [Side(each, behind.target, "", {}) for each in (DIRECT, AGAIN)]
        sides += [Side(each.name, each.target, each.headers, each.roles()) for each in proxies]
        upstream_roles = {**behind.roles(), **engine_roles}
        result["memory_before"] = _memory(proxies)
        samples = _with_progress(plan, sides, upstream_roles, generator)
        result["memory_after"] = _memory(proxies)
    return result | {"load_average_after": os.getloadavg(), "conditions": summarise(samples, plan.seed)}


@contextmanager
def _engine(kind: str, directory: Path) -> Iterator[tuple[Target | None, dict[str, list[int]]]]:
    """The engine behind all sides and its processes as one role; None: the stub answers itself."""
    if kind == "stub":
        yield None, {}
    elif kind == "vllm":
        directory.mkdir()
        stack = Bondhu(directory, {})
        try:
            with console.status("bondhu up"):
                stack.start()
            pids = [pid for role, pids in stack.roles().items() if role.startswith("vLLM") for pid in pids]
            yield stack.engine(), {"engine": pids}
        finally:
            stack.stop()
    else:
        yield Target(address(kind), os.environ.get("BONDHU_BENCH_KEY", ""), load_settings().models.active), {}


def _memory(proxies: Sequence[Proxy]) -> dict[str, dict[str, Any]]:
    return {
        each.name: {role: asdict(usage) for role, usage in processes.usage(each.roles()).items()} for each in proxies
    }


def _with_progress(
    plan: Plan, sides: Sequence[Side], upstream: dict[str, list[int]], generator: LoadGenerator
) -> list[Sample]:
    columns = (TextColumn("{task.description:<52}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=plan.rounds * len(plan.conditions) * len(sides))
        done = []
        for each in measure(plan, sides, upstream, generator, lambda what: progress.update(task, description=what)):
            done.append(each)
            progress.advance(task)
            if each.seen.errors:
                console.print(f"[yellow]{each.side}, {each.condition.name}: {each.seen.errors}[/yellow]")
        return done


if __name__ == "__main__":
    typer.run(main)
