"""Measures what the small machine holds, beside `make compose-test COMPOSE_TEST="--keep --no-faults"`.

    .venv/bin/python -m bench.b2s [--containers docker] [--url http://127.0.0.1:18000]

The containers of docker-compose.cpu.yml have to run. Twice: with the CPU that the compose file allows (a B2s with
credits), and with what a B2s may use for ever. Writes bench/results/b2s.json, .png and docs/capacity.md.
"""

import asyncio
import json
import random
import shlex
import time
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from bench.b2s import report
from bench.b2s.containers import BURST, SUSTAINED, Containers
from bench.b2s.kinds import CHAT, KINDS, TURNS, USER, Kind, chats
from bench.b2s.sweep import Point, point
from bench.environment import RESULTS, commit, machine

REGIMES = {"burst": BURST, "sustained": SUSTAINED}
JOBS_S = 40.0
JOB_KINDS = ("stats", "retention", "expire_videos")
SETTLE_S = 5.0
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/capacity.md"


def ask(url: str, key: str, method: str, path: str, body: Any = None) -> Any:
    """One request; returns its JSON."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers, method=method), timeout=120) as reply:
        return json.load(reply)


def seed_person(url: str, key: str) -> None:
    """Give the person who is recalled their past."""
    texts = [f"My garden number {number} has a {number % 7} metre hedge." for number in range(TURNS)]
    turns = [
        {"external_id": f"b2s-{number}", "speaker": USER, "text": text, "said_at": "2026-11-01T12:00:00Z"}
        for number, text in enumerate(texts)
    ]
    ask(url, key, "POST", "/api/v1/conversations", {"user": USER, "external_id": "before", "messages": turns})


def jobs_a_minute(url: str, key: str, for_s: float) -> float:
    """Jobs that are done in a minute: each kind is requested again when the one before is done."""
    began, done = time.monotonic(), 0
    while time.monotonic() - began < for_s:
        jobs = [ask(url, key, "POST", "/api/v1/jobs", {"kind": kind})["id"] for kind in JOB_KINDS]
        while jobs and time.monotonic() - began < 3 * JOBS_S:
            time.sleep(0.5)
            ended = [job for job in jobs if ask(url, key, "GET", f"/api/v1/jobs/{job}")["state"] == "done"]
            done += len(ended)
            jobs = [job for job in jobs if job not in ended]
    return 60 * done / (time.monotonic() - began)


def sweep(containers: Containers, url: str, key: str, kind: Kind) -> list[dict[str, Any]]:
    """Rising rates of a kind, until one is not held."""
    found = []
    for rate_per_s in kind.rates:
        before = containers.used()
        fields = asyncio.run(point(url, key, kind, rate_per_s, random.randrange(2**32)))
        after = containers.used()
        if not fields["sent"]:  # too short a stretch for so low a rate
            continue
        cpu_s = {service: round(after[service][0] - before[service][0], 2) for service in after}
        memory_mib = {service: round(after[service][1], 0) for service in after}
        result = Point(**fields, cpu_s=cpu_s, memory_mib=memory_mib)
        latency = result.latency_ms
        typer.echo(
            f"  {kind.name} at {rate_per_s:.2f}/s: {result.answered} of {result.sent}, p50 {latency['p50']} ms, "
            f"p95 {latency['p95']} ms{'' if result.held else ', not held'} {result.errors or ''}"
        )
        found.append(result.__dict__)
        time.sleep(1)
        if not result.held:
            break
    return found


def main(
    containers: Annotated[str, typer.Option(help="The command for containers.")] = "docker",
    url: Annotated[str, typer.Option(help="Where the gateway is published.")] = "http://127.0.0.1:18000",
    scale: Annotated[float, typer.Option(help="Of every stretch's length.")] = 1.0,
    only: Annotated[str, typer.Option(help="Kinds with one of these words, by commas; the others' figures stay.")] = "",
    minutes: Annotated[float, typer.Option(help="Longest time for each regime; kinds beyond it are left out.")] = 30,
) -> None:
    """Measure, and write it down."""
    engine = Containers(tuple(shlex.split(containers)))
    key = engine.key()
    seed_person(url, key)
    warm = next(chats(32, 1.0)(random.Random(0)))  # the repeated question is in the cache before it is measured
    ask(url, key, "POST", CHAT, json.loads(warm))
    words = [word for word in only.split(",") if word]
    chosen = [kind for kind in KINDS if not words or any(word in kind.name for word in words)]
    kinds = [replace(kind, duration_s=kind.duration_s * scale) for kind in chosen]
    before = json.loads((RESULTS / "b2s.json").read_text())["regimes"] if words else {}
    result: dict[str, Any] = {"commit": commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result |= {"machine": machine(), "scale": scale, "regimes": {}}
    try:
        for regime, cores in REGIMES.items():
            typer.echo(f"{regime}: {cores} cores")
            engine.limit(cores)
            time.sleep(SETTLE_S)
            found: dict[str, Any] = before.get(regime, {"cores": cores, "kinds": {}})
            deadline = time.monotonic() + 60 * minutes
            if not words:
                found["jobs_a_minute"] = round(jobs_a_minute(url, key, JOBS_S * scale), 1)
                found["redis_operations_per_s"] = round(engine.redis_operations())
                typer.echo(f"  jobs {found['jobs_a_minute']}/min, Redis {found['redis_operations_per_s']}/s")
            for kind in kinds:
                if time.monotonic() > deadline:
                    typer.echo(f"  {kind.name}: no time")
                    continue
                found["kinds"][kind.name] = {
                    "guide": kind.guide, "bound_s": kind.bound_s, "points": sweep(engine, url, key, kind)
                }  # fmt: skip
            result["regimes"][regime] = found
    finally:
        engine.limit(BURST)
    (RESULTS / "b2s.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    report.plot(result, RESULTS / "b2s.png")
    DOCUMENT.write_text(report.document(result))
    typer.echo(report.document(result))


if __name__ == "__main__":
    typer.run(main)
