"""How much background work delays people: time to first token alone, beside jobs, and beside jobs admitted as such.

    python -m bench.serving.admission                real gate, model of an engine, virtual time
    python -m bench.serving.admission --url URL      a running Bondhu; BONDHU_BENCH_KEY: a key of a tier without limits

Closed loops: a few interactive clients, many background ones with longer answers. Without admission, the background is
sent straight to the engine (the model) or as interactive work (a running Bondhu). In virtual time nothing is noise and
the gateway costs nothing: what shows is the order of service and the slower steps of a fuller batch.
"""

import asyncio
import os
import random
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
import uvloop

from bench.environment import RESULTS, commit, machine
from bench.load import generator as load
from bench.markdown import table
from bench.percentiles import percentiles
from bench.serving.engine_model import EngineModel
from serving.admission.gate import Gate
from serving.config.schema import AdmissionSettings
from serving.errors import ApiError
from storage.tables import RequestClass
from tests.support import virtual_time

ALONE, MIXED = "alone", "beside background work, no admission"


@dataclass(frozen=True)
class Plan:
    """The load. Durations in seconds."""

    interactive: int = 4
    background: int = 80
    interactive_tokens: int = 16
    background_tokens: int = 128
    warmup_s: float = 1.0  # on a server
    duration_s: float = 60.0
    max_in_flight: int = 64


@dataclass
class Side:
    """What was seen in one condition."""

    name: str
    duration_s: float
    ttft_ms: list[float] = field(default_factory=list)
    background_requests: int = 0
    errors: dict[str, int] = field(default_factory=dict)


async def model(plan: Plan, name: str, rules: AdmissionSettings | None) -> Side:
    """One condition on the model of an engine; `rules` of the gate, if there is one; run it in virtual time."""
    loop, side, chance = asyncio.get_running_loop(), Side(name, plan.duration_s), random.Random(7)
    engine = EngineModel(max_num_seqs=plan.max_in_flight)
    gate = rules and Gate(model="model", rules=rules, slots=lambda: plan.max_in_flight, retry_after_s=5, loop=loop)

    async def client(class_: RequestClass, user: str, tokens: int) -> None:
        await asyncio.sleep(chance.random())  # else all would stay in step
        while (sent_at := loop.time()) < plan.duration_s:
            try:
                async with gate.enter(class_, "bench", user) if gate else nullcontext():
                    first_token_at = await engine.generate(chance.randint(tokens // 2, tokens * 3 // 2))
            except ApiError as error:
                side.errors[type(error).__name__] = side.errors.get(type(error).__name__, 0) + 1
                await asyncio.sleep(error.retry_after_s or 1)
                continue
            if class_ == "interactive":
                side.ttft_ms.append(1000 * (first_token_at - sent_at))
            else:
                side.background_requests += 1

    jobs = 0 if name == ALONE else plan.background
    await asyncio.gather(
        *(client("interactive", f"person {number}", plan.interactive_tokens) for number in range(plan.interactive)),
        *(client("job", f"job {number}", plan.background_tokens) for number in range(jobs)),
    )
    return side


def on_the_model(plan: Plan) -> list[Side]:
    """All conditions, with several shares for jobs."""
    rules = AdmissionSettings()
    sides = [virtual_time.run(model(plan, ALONE, None)), virtual_time.run(model(plan, MIXED, None))]
    for share in sorted({0.125, 0.25, 0.5, 0.75, rules.job_share}):
        changed = AdmissionSettings(job_share=share, agent_share=max(share, rules.agent_share))
        sides.append(virtual_time.run(model(plan, f"admitted as jobs, job_share {share:g}", changed)))
    return sides


async def on_a_server(plan: Plan, url: str, key: str, model_id: str, class_header: str, rounds: int) -> list[Side]:
    """All conditions on a running Bondhu, in turn, pooled over the rounds."""
    sides = {name: Side(name, plan.duration_s * rounds) for name in (ALONE, MIXED, "admitted as jobs")}
    seed = int(time.time())

    def block(clients: int, tokens: int, class_: str) -> load.Block:
        nonlocal seed
        seed += 1
        headers = f"{class_header}: {class_}\r\n"
        return load.Block(url, key, model_id, True, clients, tokens, plan.warmup_s, plan.duration_s, seed, headers)

    for _ in range(rounds):
        for name, side in sides.items():
            work = [load.run(block(plan.interactive, plan.interactive_tokens, "interactive"))]
            if name != ALONE:
                class_ = "interactive" if name == MIXED else "job"
                work.append(load.run(block(plan.background, plan.background_tokens, class_)))
            people, *jobs = await asyncio.gather(*work)
            side.ttft_ms += people.ttft_ms
            side.background_requests += sum(each.requests for each in jobs)
            for seen in (people, *jobs):
                for what, count in seen.errors.items():
                    side.errors[what] = side.errors.get(what, 0) + count
    return list(sides.values())


def summarise(sides: list[Side]) -> list[dict[str, Any]]:
    """Percentiles of each side, and what they add to those of the first."""
    base = percentiles(sides[0].ttft_ms)
    rows = []
    for side in sides:
        ttft = percentiles(side.ttft_ms)
        added = {name: round((value or 0) - (base[name] or 0), 3) for name, value in ttft.items()}
        share = {name: round(value / (base[name] or 1), 3) for name, value in added.items()}
        rows.append(
            {
                "side": side.name,
                "ttft_ms": ttft,
                "added_ms": added,
                "added_share_of_alone": share,
                "interactive_requests_per_s": round(len(side.ttft_ms) / side.duration_s, 2),
                "background_requests_per_s": round(side.background_requests / side.duration_s, 2),
                "errors": side.errors,
            }
        )
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table for people."""
    head = [
        "interactive requests",
        "TTFT ms, p50 / p95 / p99",
        "added",
        "added, as a share of alone",
        "requests/s",
        "background requests/s",
        "errors",
    ]
    return table(
        head,
        [
            [
                row["side"],
                _triple(row["ttft_ms"]),
                _triple(row["added_ms"]),
                " / ".join(f"{value:.0%}" for value in row["added_share_of_alone"].values()),
                f"{row['interactive_requests_per_s']:.1f}",
                f"{row['background_requests_per_s']:.1f}",
                ", ".join(f"{what}: {count}" for what, count in row["errors"].items()) or "none",
            ]
            for row in rows
        ],
    )


def _triple(values: dict[str, float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values.values())


def main(
    url: Annotated[str, typer.Option(help="A running Bondhu; else a model of an engine.")] = "",
    model_id: Annotated[str, typer.Option("--model", help="The model to ask there.")] = "bondhu",
    class_header: Annotated[str, typer.Option(help="The header that names a request's class.")] = "x-bondhu-class",
    interactive: Annotated[int, typer.Option(min=1, help="Interactive clients.")] = Plan.interactive,
    background: Annotated[int, typer.Option(min=1, help="Background clients.")] = Plan.background,
    duration_s: Annotated[float, typer.Option(min=1, help="Seconds of a condition.")] = 60.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds on a server.")] = 3,
) -> None:
    """Measure how much background work delays interactive requests' first token."""
    plan = Plan(interactive=interactive, background=background, duration_s=duration_s)
    if url:
        key = os.environ.get("BONDHU_BENCH_KEY", "")
        sides = uvloop.run(on_a_server(plan, url, key, model_id, class_header, rounds))
    else:
        sides = on_the_model(plan)
    rows = summarise(sides)
    name = "admission-server" if url else "admission-model"
    RESULTS.mkdir(exist_ok=True)
    result: dict[str, Any] = {
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }
    result |= {"plan": asdict(plan), "rounds": rounds if url else 1, "sides": rows}
    (RESULTS / f"{name}.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (RESULTS / f"{name}.md").write_text(markdown(rows) + "\n")
    typer.echo(markdown(rows))


if __name__ == "__main__":
    typer.run(main)
