"""vLLM and llama.cpp on the same model, one thread each, in one run: `python -m bench.serving.engines`.

Every side is a server as the service starts it from its model file, without gateway and Ray, and all of them are up at
once. They are measured in turn, in an order that rotates, because the machine drifts; the others are stopped (SIGSTOP)
meanwhile. Asked are the model and its companion adapter: tokens/s of one stream and of several, seconds to the first
token of a long prompt, and the processor time of each, because other work may run on the machine. Memory is the
proportional set size of a side's processes, before and after the load. The sides share the weights that all of them
come from, in the forms in which each can serve them. With `--forms` vLLM is measured in every form that it has (W8A8,
W4A16, not quantised), by which the default was chosen; with `--own-lora` also with its own products of adapters,
without `models.vllm.lora_on_cpu`.

Writes bench/results/NAME.json, .md and .png.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import aiohttp
import psutil
import typer

from bench.environment import RESULTS, commit, machine, versions
from bench.serving.engines_report import markdown, plot
from models.engine_process import EngineProcess
from models.fetch.fetch import fetch
from models.fetch.source import GGUF_FILE, Form, parse_source
from models.llama_cpp.server import LlamaCppServer
from models.vllm.server import VllmServer
from serving.cluster.manifest import engine_application
from serving.config.load import load_settings
from serving.config.schema import ModelSpec, Settings
from serving.supervisor import reaper

VLLM, LLAMA_CPP = "smollm2-135m-instruct", "smollm2-135m-instruct-gguf"


@dataclass(frozen=True)
class Choice:
    """What a side serves: a model file in one form of its weights, and whether vLLM's own products of adapters stay."""

    model: str
    form: Form
    own_lora: bool = False


SIDES = {"vLLM W8A8": Choice(VLLM, "W8A8"), "llama.cpp Q4_1": Choice(LLAMA_CPP, "gguf")}
FORMS = {"vLLM W4A16": Choice(VLLM, "W4A16"), "vLLM bf16": Choice(VLLM, "checkpoint")}
OWN_LORA = {
    "vLLM W8A8, its own LoRA": Choice(VLLM, "W8A8", own_lora=True),
    "vLLM bf16, its own LoRA": Choice(VLLM, "checkpoint", own_lora=True),
}
STORY = "Once upon a time there was a small house by the sea. "
LONG_PROMPT = STORY * 40  # about 520 tokens
START_TIMEOUT_S = 600.0
SEEN = ("single", "several", "ttft_s", "cpu_ms", "several_cpu_ms", "ttft_cpu_s")
SETTLES_S = 1.3  # vLLM's worker goes on spinning for a second after its last request


@dataclass
class Side:
    """One started engine, and what was seen of it, a value a round; by the model id that was asked for."""

    name: str
    server: EngineProcess
    pids: set[int]
    first_token_s: float
    idle_mb: float
    model_ids: Mapping[str, str]  # of "base" and "companion"
    single: dict[str, list[float]] = field(default_factory=dict)  # tokens/s
    several: dict[str, list[float]] = field(default_factory=dict)  # tokens/s of all streams
    ttft_s: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)  # of a token of one stream, its short prompt included
    several_cpu_ms: dict[str, list[float]] = field(default_factory=dict)  # of a token of several
    ttft_cpu_s: dict[str, list[float]] = field(default_factory=dict)  # of the long prompt
    loaded_mb: float = 0.0

    def described(self) -> dict[str, Any]:
        """As plain data."""
        seen = {name: getattr(self, name) for name in SEEN}
        memory = {"idle_mb": self.idle_mb, "loaded_mb": self.loaded_mb}
        return {"side": self.name, "first_token_s": self.first_token_s, **memory, **seen}


def spec_of(settings: Settings, choice: Choice) -> ModelSpec:
    """The model file's model in one form of its weights, fetched if they are not here yet."""
    spec, form = settings.catalogue[choice.model], choice.form
    assert spec.source is not None, "its weights are fetched"
    source = parse_source(spec.source.name, spec.source.sha256, settings.root)
    folder = fetch(source, form, settings.var_dir / "models", lambda step, *_: typer.echo(step, err=True))
    changed: dict[str, Any] = {"path": str(folder / GGUF_FILE if form == "gguf" else folder)}
    if choice.own_lora and isinstance(spec.engine, dict):
        kept = {name: value for name, value in spec.engine.items() if name != "lora_target_modules"}
        changed["engine"] = {**kept, "worker_extension_cls": "models.vllm.lora_on_int8.Extension"}
    return spec.model_copy(update=changed)


def server_of(settings: Settings, spec: ModelSpec, log: Path) -> EngineProcess:
    """The server that a replica of the model would start."""
    args = engine_application(settings, spec)["args"]
    kind = LlamaCppServer if spec.runs_llama_cpp else VllmServer
    return kind(
        model=args["path"],
        served_name=spec.id,
        arguments=args["arguments"],
        environment=args["environment"],
        host="127.0.0.1",
        log_path=log,
        reaper=reaper.argv([], grace_s=5),
        adapters=args["adapters"],
    )


def memory_mb(pids: set[int]) -> float:
    """Their proportional set size, MB."""
    total: int = sum(psutil.Process(pid).memory_full_info().pss for pid in pids if psutil.pid_exists(pid))
    return round(total / 1e6, 1)


def cpu_s(pids: set[int]) -> float:
    """Their processor time so far, s."""
    times = [psutil.Process(pid).cpu_times() for pid in pids if psutil.pid_exists(pid)]
    return float(sum(each.user + each.system for each in times))


def children() -> set[int]:
    """The processes that this one and its own have started."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def start(name: str, settings: Settings, spec: ModelSpec, log: Path) -> Side:
    """Boot one engine; returns once it has generated."""
    before, server, began = children(), server_of(settings, spec, log), time.monotonic()
    await server.start(START_TIMEOUT_S)
    first_token_s, pids = round(time.monotonic() - began, 1), children() - before
    model_ids = {"base": spec.id, "companion": spec.default_name} if spec.adapters else {"base": spec.id}
    return Side(name, server, pids, first_token_s, memory_mb(pids), model_ids)


@contextlib.contextmanager
def stopped(sides: Sequence[Side]) -> Iterator[None]:
    """Stop these in their tracks meanwhile; their reapers go on."""
    pids = [pid for side in sides for pid in side.pids if psutil.pid_exists(pid) and not _is_reaper(pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _is_reaper(pid: int) -> bool:
    return any("reaper.py" in word for word in psutil.Process(pid).cmdline())


async def generate(
    session: aiohttp.ClientSession, side: Side, model: str, prompt: str, tokens: int
) -> tuple[float, float, int]:
    """Ask for a stream: seconds to its first token and to its end, its tokens."""
    options = {"include_usage": True}
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    headers = {"authorization": f"Bearer {side.server.key}"}
    began, first = time.monotonic(), 0.0
    usage: dict[str, Any] = {}
    body |= {"stream": True, "stream_options": options}
    async with session.post(f"{side.server.address}/v1/completions", json=body, headers=headers) as answer:
        async for line in answer.content:
            if line.startswith(b"data: {"):
                first = first or time.monotonic() - began
                usage = json.loads(line[6:]).get("usage") or usage
    return first, time.monotonic() - began, usage["completion_tokens"]


async def measure(side: Side, number: int, plan: Mapping[str, int]) -> None:
    """One round of one side. No two prompts of a run begin alike, so that no cache of prompts is hit."""
    at_once, tokens = plan["at_once"], plan["tokens"]
    async with aiohttp.ClientSession() as session:
        for role, model in side.model_ids.items():
            mark = f"{number} {role}"
            await generate(session, side, model, f"Warm up {mark}.", 8)
            used_s = cpu_s(side.pids)
            first, end, made = await generate(session, side, model, f"{mark}: {STORY}", tokens)
            side.cpu_ms.setdefault(role, []).append(round((cpu_s(side.pids) - used_s) / made * 1000, 1))
            side.single.setdefault(role, []).append(round((made - 1) / (end - first), 1))
            began, used_s = time.monotonic(), cpu_s(side.pids)
            streams = [generate(session, side, model, f"{k} {mark}: {STORY}", tokens) for k in range(at_once)]
            made = sum(each[2] for each in await asyncio.gather(*streams))
            side.several.setdefault(role, []).append(round(made / (time.monotonic() - began), 1))
            side.several_cpu_ms.setdefault(role, []).append(round((cpu_s(side.pids) - used_s) / made * 1000, 1))
            used_s = cpu_s(side.pids)
            first, _, _ = await generate(session, side, model, f"Long {mark}: {LONG_PROMPT}", 1)
            side.ttft_s.setdefault(role, []).append(round(first, 3))
            side.ttft_cpu_s.setdefault(role, []).append(round(cpu_s(side.pids) - used_s, 3))


async def run(
    settings: Settings,
    chosen: Mapping[str, Choice],
    plan: Mapping[str, int],
    keep: Callable[[Sequence[Side], int], None],
) -> None:
    """Boot all, measure in turn, stop all; `keep` is given what was seen after each round."""
    specs = {name: spec_of(settings, choice) for name, choice in chosen.items()}
    sides: list[Side] = []
    with TemporaryDirectory() as directory:
        try:
            for name, spec in specs.items():
                typer.echo(f"starting {name}", err=True)
                with stopped(sides):
                    sides.append(await start(name, settings, spec, Path(directory) / f"{len(sides)}.log"))
            for number in range(plan["rounds"]):
                order = [*sides[number % len(sides) :], *sides[: number % len(sides)]]
                for side in order:
                    typer.echo(f"round {number + 1}: {side.name}", err=True)
                    await asyncio.sleep(SETTLES_S)
                    with stopped([each for each in sides if each is not side]):
                        await measure(side, number, plan)
                for side in sides:
                    side.loaded_mb = memory_mb(side.pids)
                keep(sides, number + 1)
        finally:
            for side in sides:
                await side.server.stop()


def main(
    tokens: Annotated[int, typer.Option(help="Tokens of an answer.")] = 48,
    at_once: Annotated[int, typer.Option(help="Streams at once.")] = 8,
    rounds: Annotated[int, typer.Option(help="Of every measurement on every side.")] = 5,
    forms: Annotated[bool, typer.Option("--forms", help="vLLM in every form of the weights too.")] = False,
    own_lora: Annotated[bool, typer.Option("--own-lora", help="vLLM's own products of adapters too.")] = False,
    only: Annotated[str, typer.Option(help="Only these sides, by name, separated by semicolons.")] = "",
    name: Annotated[str, typer.Option(help="Results go to bench/results/NAME.{json,md,png}.")] = "engines",
) -> None:
    """Measure the engines beside each other and write the result."""
    settings = load_settings()
    plan = {"tokens": tokens, "at_once": at_once, "rounds": rounds, "threads": 1}
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"plan": plan, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)

    def keep(sides: Sequence[Side], done: int) -> None:
        """Write the result as it is: a run that is cut short has not been for nothing."""
        result["plan"] = {**plan, "rounds": done}
        result.update(load_average_after=os.getloadavg(), sides=[side.described() for side in sides])
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        (RESULTS / f"{name}.md").write_text(markdown(result))

    chosen = SIDES | (FORMS if forms else {}) | (OWN_LORA if own_lora else {})
    if only:
        chosen = {side: (SIDES | FORMS | OWN_LORA)[side] for side in only.split(";")}
    asyncio.run(run(settings, chosen, plan, keep))
    plot(result, RESULTS / f"{name}.png")
    typer.echo(markdown(result))


if __name__ == "__main__":
    typer.run(main)
