"""Runs a compose file for real and prints what each container used of what it may: `make compose-test`.

    python deploy/docker/compose_test [--compose "docker compose"] [--containers docker] [--keep] [--no-faults]

Up under a random user id, ready, chats with memory, agents and a job through the published port, page cache filled on
purpose, Redis dropped ten times in a row, every container killed once; then everything that was acknowledged is asked
for. It fails when a container was killed for memory or started again by itself, when an image is too large, or when
something was lost. Standard library only.
"""

import argparse
import json
import os
import shlex
import sys
import time

import readings
from client import Client, Refused, wait_ready
from engine import Engine
from faults import READY_WITHIN_S, drop_redis, fill_page_cache, kill_each

FILE = "docker-compose.cpu.yml"
SERVICES = ("redis", "api", "celery-worker")
BASE = "docker.io/library/python:3.11-slim-bookworm"
BASE_MB = 130  # of that image where it comes from its registry: what stands for it here may be larger
LARGEST_MB = {"small": 900, "cpu": 2500}
DROPS = 10


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="compose_test", description="Run docker-compose.cpu.yml for real.")
    parser.add_argument("--compose", default="docker compose", help="the command for compose files")
    parser.add_argument("--containers", default="docker", help="the command for single containers")
    parser.add_argument("--port", default="18000", help="to publish the gateway on")
    parser.add_argument("--uid", default="54321", help="the user id of every process: any will do")
    parser.add_argument("--chats", type=int, default=8)
    parser.add_argument("--keep", action="store_true", help="leave it running")
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    parser.add_argument("--no-faults", action="store_true", help="only use it")
    options = parser.parse_args()
    environ = {**os.environ, "BONDHU_PORT": options.port, "BONDHU_UID": options.uid}
    engine = Engine(shlex.split(options.compose), shlex.split(options.containers), [FILE], environ)
    url = f"http://127.0.0.1:{options.port}"
    if not options.no_build:
        engine.run("build", "api", "celery-worker")
    wrong = sizes(engine, ("small", "worker", "cpu"))
    engine.run("up", "-d", "redis", "init", "api", "celery-worker")
    try:
        wrong += drive(engine, url, options.chats, with_faults=not options.no_faults)
    except Refused as problem:
        wrong.append(str(problem))
        print(engine.command("logs", "--tail", "40", engine.name("api"), check=False))
    finally:
        if not options.keep:
            began = time.monotonic()
            engine.run("down", "--volumes", check=False)
            print(f"stopped and removed in {time.monotonic() - began:.0f} s")
    if wrong:
        sys.exit("\n".join(wrong))


def sizes(engine: Engine, stages: tuple[str, ...]) -> list[str]:
    """Print the images' sizes; return what is too large. A stage that was not built here is left out."""
    wrong = []
    base_mb = engine.image_mb(BASE)
    for stage in stages:
        name = f"localhost/bondhu:{stage}"
        if not engine.command("images", "--quiet", name, check=False).strip():
            continue
        added_mb = engine.image_mb(name) - base_mb
        print(f"image {stage}: {added_mb:.0f} MB on top of its base, {added_mb + BASE_MB:.0f} with one of {BASE_MB}")
        if added_mb + BASE_MB > LARGEST_MB.get(stage, added_mb + BASE_MB):
            wrong.append(f"image {stage} is larger than {LARGEST_MB[stage]} MB")
    return wrong


def drive(engine: Engine, url: str, chats: int, *, with_faults: bool) -> list[str]:
    """Use what runs, break it, and return what is wrong."""
    print(f"ready after {wait_ready(url, READY_WITHIN_S):.0f} s", flush=True)
    code, text = engine.inside("api", "cat", "/var/lib/bondhu/dev.env")
    key = dict(line.split("=", 1) for line in text.splitlines() if "=" in line).get("OPENAI_API_KEY", "")
    if code or not key:
        raise Refused(f"no key: {text.strip()[:300]}")
    client = Client(url, key, f"compose-{os.getpid()}")
    use(client, chats)
    wrong = [*unhealthy(engine, ("api", "celery-worker"))]
    if with_faults:
        fill_page_cache(engine, client)
    wrong += examined(engine)
    if restarts := client.metric("bondhu_restarts_total", key):
        wrong.append(f"{restarts:.0f} processes inside the containers were started again")
    wrong += readings.table(engine, SERVICES)
    if with_faults:
        drop_redis(engine, client, DROPS)
        kill_each(engine, client, url, SERVICES)
        lost = client.missing()
        rejected = client.metric("bondhu_ledger_rejected_lines_total", key)
        known = client.acknowledged
        print(
            f"of {len(known.requests)} answers in the ledger, {len(known.sentences)} sentences in memory and "
            f"{len(known.jobs)} jobs, {len(lost)} were lost; {rejected:.0f} lines of the ledger were rejected"
        )
        wrong += lost + ([f"{rejected:.0f} rejected lines"] if rejected else [])
        wrong += [*unhealthy(engine, ("api", "celery-worker"))]
    return wrong


def use(client: Client, chats: int) -> None:
    """Chats one after another, three agents, a job."""
    times = []
    for number in range(chats):
        answer, took_s = client.chat(f"What is the capital of France? Question {number}.")
        times.append(took_s)
        if number == 0:
            print(f"first answer: {answer[:100]!r}")
    print(f"{chats} chats with memory: median {sorted(times)[len(times) // 2]:.1f} s, longest {max(times):.1f} s")
    for agent, words in (
        ("games", "Let us play tic-tac-toe."),
        ("music", "Some quiet songs, please."),
        ("auto", "Good evening!"),
    ):
        answer, took_s = client.chat(words, model=f"bondhu/{agent}")
        print(f"bondhu/{agent} after {took_s:.1f} s: {' '.join(answer.split())[:70]!r}")
    took_s = client.wait_done(client.job("stats"), 180)
    print(f"the job stats was done after {took_s:.0f} s", flush=True)


def examined(engine: Engine) -> list[str]:
    """Print what `bondhu doctor` says in the api's container; return what is wrong with that."""
    _, text = engine.inside("api", "bondhu", "doctor", "--json")
    try:
        report, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    except ValueError:
        return [f"bondhu doctor has no report: {text.strip()[:300]}"]
    print(f"bondhu doctor: {report['status']}")
    for finding in report["findings"]:
        if finding["level"] != "healthy" or finding["code"] in ("memory", "cpu"):
            print(f"  {finding['level']}: {finding['says']}")
    for advice in report["advice"]:
        print(f"  {advice['move']}: {advice['why']}: {advice['how']}")
    seen = next((each["value"] for each in report["findings"] if each["code"] == "memory"), 0.0)
    about = readings.used(engine, "api")
    if not about["anonymous"] / about["limit"] - 0.1 < seen < 0.97:
        return [f"the doctor sees {seen:.0%} of the memory in use, which is not the container's"]
    return []


def unhealthy(engine: Engine, services: tuple[str, ...]) -> list[str]:
    """Run the images' own health checks, until the first task of the schedule came back; return what is not healthy."""
    wrong = []
    for service in services:
        which = "worker" if "worker" in service else "gateway"
        deadline = time.monotonic() + 120
        while True:
            code, words = engine.inside(service, "python", "-m", "serving.supervisor.health_check", which)
            if code == 0 or time.monotonic() > deadline:
                break
            time.sleep(5)
        print(f"health check of {service}: {'healthy' if code == 0 else words.strip()[:200]}", flush=True)
        wrong += [f"{service} is not healthy"] if code else []
    return wrong


if __name__ == "__main__":
    main()
