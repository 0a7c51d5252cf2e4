"""Prove the service on a GPU: one command, about eight minutes, a table, JSON and a plot under bench/results/.

    python -m bench.gpu [--profile gpu] [--base DIR --adapter DIR]     make gpu-check
    python -m bench.gpu --profile cpu --tiny                           the same stages, small, on a CPU

A Llama of the 8B's shape with random weights, in FP8 and in 4-bit, is served by the whole stack (Ray, vLLM, gateway):
chats, the gateway beside the bare engine, the peak of 10,000 people, a swap under load, an engine killed and back,
vLLM's Rust front end where the build has it, and the published small model with its adapter (this repository's, if they
were fetched). What the machine lacks is named before anything starts. A stage that fails or for which no time is left
is recorded as such, and the others go on. What was found is written after each stage.
"""

import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from bench.environment import RESULTS, commit, machine, versions
from bench.gpu import device, preflight, report, rust_front_end, stages
from bench.gpu.service import ADAPTER, Service, fetched_weights, prepare
from bench.load.process import LoadGenerator

console = Console(stderr=True)


class Check:
    """Runs stages, keeps what they found, and writes it after each."""

    def __init__(self, result: dict[str, Any], path: Path, budget_s: float) -> None:
        self.result, self._path = result, path
        self._began, self._budget_s = time.monotonic(), budget_s

    def stage(self, name: str, needs_s: float, work: Callable[[], Any]) -> Any:
        """Run one stage that takes about `needs_s`; returns what it found, None where it failed or time was short."""
        left_s = self._budget_s - (time.monotonic() - self._began)
        console.print(f"[{self._budget_s - left_s:5.0f} s] {name} ...")
        began = time.monotonic()
        if left_s < needs_s:
            stage: dict[str, Any] = {
                "state": "not run",
                "reason": f"{left_s:.0f} s were left, it takes {needs_s:.0f}",
            }
        else:
            try:
                stage = {"found": work(), "took_s": round(time.monotonic() - began, 1)}
            except Exception as problem:  # noqa: BLE001 - whatever ails one stage, the others are still worth measuring
                console.print(traceback.format_exc(), style="red", markup=False, highlight=False)
                reason = f"{type(problem).__name__}: {problem}"
                stage = {"state": "failed", "reason": reason, "took_s": round(time.monotonic() - began, 1)}
        self._keep(name, stage)
        return stage.get("found")

    def leave_out(self, name: str, reason: str) -> None:
        """Say that a stage has nothing to run on, and why: that is no failure."""
        self._keep(name, {"state": "left out", "reason": reason})

    def _keep(self, name: str, stage: dict[str, Any]) -> None:
        self.result["stages"][name] = stage
        self._path.with_suffix(".json").write_bytes(orjson.dumps(self.result, option=orjson.OPT_INDENT_2))


def main(
    profile: Annotated[str, typer.Option(help="gpu, or cpu (which is always tiny).")] = "gpu",
    tiny: Annotated[bool, typer.Option("--tiny", help="A tiny shape and little load.")] = False,
    base: Annotated[Path | None, typer.Option(help="A checkpoint beside; else the one that was fetched.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="A LoRA adapter on --base; else the companion's.")] = None,
    budget_s: Annotated[float, typer.Option(help="Stages for which less is left are not run.")] = 480,
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = RESULTS,
    keep_logs: Annotated[Path | None, typer.Option(help="Where the stack's logs are copied, their ends.")] = None,
) -> None:
    """Prove the service on this machine's GPU."""
    if profile not in ("gpu", "cpu"):
        raise typer.BadParameter("gpu or cpu", param_hint="--profile")
    if lacking := preflight.examine():
        console.print("\n".join(lacking), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2)
    tiny = tiny or profile == "cpu"
    if base is None and (base := fetched_weights()) is not None:
        adapter = adapter or ADAPTER
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that everything is stopped
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"gpu-check-{profile}"
    result: dict[str, Any] = {
        "commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds"), "profile": profile, "tiny": tiny,
        "machine": machine(), "device": device.describe(), "versions": versions(), "stages": {},
    }  # fmt: skip
    check = Check(result, path, budget_s)
    with tempfile.TemporaryDirectory(prefix="bondhu-gpu-") as directory:
        service = prepare(Path(directory), profile, base, adapter, tiny=tiny)
        watch = device.MemoryWatch()
        try:
            _run(check, service)
        finally:
            with console.status("stopping"):
                service.bondhu.stop()
            watch.stop()
            result["peak_gpu_memory_mib"] = watch.peak_mib
            if keep_logs is not None:
                _keep_logs(service, keep_logs)
    path.with_suffix(".json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    path.with_suffix(".md").write_text(report.markdown(result))
    report.plot(result, path.with_suffix(".png"))
    typer.echo(report.markdown(result))
    failed = [name for name, stage in result["stages"].items() if stage.get("state") in ("failed", "not run")]
    raise typer.Exit(1 if failed else 0)


def _run(check: Check, service: Service) -> None:
    sizes = stages.TINY if check.result["tiny"] else stages.FULL
    check.result["shape"] = asdict(service.shape)
    first, second = service.variants
    if check.stage("start", 30, lambda: _start(service)) is None:
        check.result["start_log"] = service.bondhu.log.read_text(errors="replace")[-4000:]
        return
    generator = LoadGenerator()
    try:
        run = stages.Run(service, sizes, service.key(), generator)
        blocks_s = len(sizes.concurrencies) * 2 * (sizes.block_s + 4)
        check.stage(f"chat, {first.label}", 5, lambda: stages.chats(run, first.model))
        check.stage(f"side by side, {first.label}", blocks_s, lambda: stages.side_by_side(run, first))
        check.stage(f"peak of 10,000 people, {first.label}", sizes.peak_s + 10, lambda: stages.peak(run, first))
        check.stage(f"memory, {first.label}", 1, lambda: stages.memory(run, first))
        swapped = check.stage(f"swap under load, {first.label} to {second.label}", 40, lambda: stages.swap(run, second))
        now = first if swapped is None else second
        if swapped is not None:
            check.stage(f"chat, {second.label}", 5, lambda: stages.chats(run, second.model))
            check.stage(f"side by side, {second.label}", blocks_s, lambda: stages.side_by_side(run, second))
            check.stage(f"memory, {second.label}", 1, lambda: stages.memory(run, second))
        beside = "published model and adapter beside"
        if service.real_model is not None:
            check.stage(beside, 40, lambda: stages.real(run, now))
        else:
            check.leave_out(beside, "no weights here: `bondhu models fetch smollm2-135m-instruct`, or --base")
        check.stage("engine killed and back", 30, lambda: stages.killed(run, now))
        rust_s = blocks_s + 60 if rust_front_end.is_in_this_build() else 1
        check.stage(f"Rust front end, {now.label}", rust_s, lambda: rust_front_end.beside_python(run, now))
        if swapped is not None:
            again = f"peak of 10,000 people, {second.label}"
            check.stage(again, sizes.peak_s + 10, lambda: stages.peak(run, second))
    finally:
        generator.close()


def _start(service: Service) -> dict[str, Any]:
    service.bondhu.start()
    return {"first_token_s": round(service.bondhu.first_token_s, 1)}


def _keep_logs(service: Service, folder: Path) -> None:
    """Engines' own words about a start that failed are worth more than our summary of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in (service.bondhu.log, *sorted((service.bondhu.settings.var_dir / "logs").glob("*.log"))):
        if log.exists():
            (folder / f"{log.name}.txt").write_text(log.read_text(errors="replace")[-60_000:])


if __name__ == "__main__":
    typer.run(main)
