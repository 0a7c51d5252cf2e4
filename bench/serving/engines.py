"""vLLM and llama.cpp on the same model, one thread each, one after the other: `python -m bench.serving.engines`.

Both as the service's model files start them, without gateway and Ray: memory (proportional set size of the process
tree, before and after the load), seconds to the first token of a boot, tokens/s of one stream and of several at once,
time to first token of a long prompt. The two share nothing but the weights that both come from; their forms differ
(W8A8 and Q4_1), as the service serves them. Writes bench/results/engines.json and .png.
"""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import aiohttp
import psutil
import typer

from bench.environment import RESULTS, commit, machine
from models.engine_process import EngineProcess
from models.llama_cpp.server import LlamaCppServer
from models.vllm.server import VllmServer
from serving.cluster.manifest import engine_application
from serving.config.load import load_settings
from serving.config.schema import ModelSpec, Settings
from serving.supervisor import reaper

MODELS = ("smollm2-135m-instruct", "smollm2-135m-instruct-gguf")
STORY = "Once upon a time there was a small house by the sea. "
START_TIMEOUT_S = 600.0


@dataclass
class Seen:
    """What one engine did."""

    engine: str
    model: str
    quantization: str
    first_token_s: float = 0.0
    idle_mb: float = 0.0
    loaded_mb: float = 0.0
    single_tokens_s: list[float] = field(default_factory=list)
    several_tokens_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    ttft_s: list[float] = field(default_factory=list)
    load_average: tuple[float, float, float] = (0.0, 0.0, 0.0)


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
        tether=reaper.argv([], grace_s=5),
    )


def memory_mb() -> float:
    """Proportional set size of everything that this process started, MB."""
    total: int = sum(child.memory_full_info().pss for child in psutil.Process().children(recursive=True))
    return total / 1e6


async def generate(
    session: aiohttp.ClientSession, server: EngineProcess, prompt: str, tokens: int
) -> tuple[float, float, int, int]:
    """Ask for a stream: seconds to its first token and to its end, its tokens, the prompt's."""
    options = {"include_usage": True}
    body = {"model": server.served_name, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    began, first = time.monotonic(), 0.0
    usage: dict[str, Any] = {}
    async with session.post(
        f"{server.address}/v1/completions", json={**body, "stream": True, "stream_options": options}
    ) as answer:
        async for line in answer.content:
            if line.startswith(b"data: {"):
                first = first or time.monotonic() - began
                usage = json.loads(line[6:]).get("usage") or usage
    return first, time.monotonic() - began, usage["completion_tokens"], usage["prompt_tokens"]


async def measure(settings: Settings, spec: ModelSpec, *, tokens: int, at_once: int, repeats: int, log: Path) -> Seen:
    """Boot one engine, load it, stop it."""
    server = server_of(settings, spec, log)
    seen = Seen(engine=server.program, model=spec.id, quantization=spec.quantization)
    began = time.monotonic()
    await server.start(START_TIMEOUT_S)
    try:
        seen.first_token_s = round(time.monotonic() - began, 1)
        seen.idle_mb = round(memory_mb(), 1)
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {server.key}"}) as session:
            await generate(session, server, STORY, 8)
            for number in range(repeats):
                first, end, made, _ = await generate(session, server, f"{number}. {STORY}", tokens)
                seen.single_tokens_s.append(round((made - 1) / (end - first), 1))
                began = time.monotonic()
                asked = [generate(session, server, f"{number}/{k}. {STORY}", tokens) for k in range(at_once)]
                made = sum(each[2] for each in await asyncio.gather(*asked))
                seen.several_tokens_s.append(round(made / (time.monotonic() - began), 1))
                first, _, _, seen.prompt_tokens = await generate(session, server, f"{number}! " + STORY * 60, 1)
                seen.ttft_s.append(round(first, 3))
        seen.loaded_mb = round(memory_mb(), 1)
        seen.load_average = os.getloadavg()
    finally:
        await server.stop()
    return seen


def plot(result: Any, path: Path) -> None:
    """Draw memory and speed side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    engines = result["engines"]
    names = [each["engine"] for each in engines]
    panels: dict[str, Sequence[float]] = {
        "memory under load, MB (PSS)": [each["loaded_mb"] for each in engines],
        "tokens/s, one stream (best)": [max(each["single_tokens_s"]) for each in engines],
        f"tokens/s, {result['plan']['at_once']} streams (best)": [max(each["several_tokens_s"]) for each in engines],
    }
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.bar(names, values, width=0.5)
        axes.set_title(title, fontsize=9)
    figure.savefig(path, dpi=120)


def main(
    tokens: Annotated[int, typer.Option(help="Tokens of an answer.")] = 64,
    at_once: Annotated[int, typer.Option(help="Streams at once.")] = 4,
    repeats: Annotated[int, typer.Option(help="Of each measurement.")] = 3,
) -> None:
    """Measure both engines and write the result."""
    settings = load_settings()
    plan = {"tokens": tokens, "at_once": at_once, "repeats": repeats, "threads": 1}
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"plan": plan, "machine": machine(), "engines": []}
    with TemporaryDirectory() as directory:
        for model in MODELS:
            spec = settings.catalogue[model]
            log = Path(directory) / f"{model}.log"
            seen = asyncio.run(measure(settings, spec, tokens=tokens, at_once=at_once, repeats=repeats, log=log))
            result["engines"].append(asdict(seen))
            typer.echo(json.dumps(asdict(seen)))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "engines.json").write_text(json.dumps(result, indent=2) + "\n")
    plot(result, RESULTS / "engines.png")


if __name__ == "__main__":
    typer.run(main)
