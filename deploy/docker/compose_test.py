"""Runs docker-compose.cpu.yml for real and prints what each container used of what it may: `make compose-test`.

    python deploy/docker/compose_test.py [--compose "docker compose"] [--podman docker] [--keep] [--chats 8]

Up, ready, chats through the published port, a random user id, a stop within the graces. It fails when a container was
killed for memory or started again, or a chat got no answer. Standard library only.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILE = "docker-compose.cpu.yml"
SERVICES = ("redis", "api", "celery-worker")
READY_WITHIN_S = 420.0
MIB = 2**20


@dataclass
class Engine:
    """The two commands that this machine has: for compose files, and for single containers."""

    compose: list[str]
    podman: list[str]
    environ: dict[str, str]

    def run(self, *words: str, check: bool = True) -> str:
        """Run `compose` with these words; return its output."""
        done = subprocess.run(
            [*self.compose, "-f", FILE, *words], cwd=ROOT, env=self.environ, text=True, capture_output=True, check=False
        )
        if check and done.returncode:
            sys.exit(f"{shlex.join([*self.compose, *words])} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        out = subprocess.run([*self.podman, "inspect", self.name(service)], text=True, capture_output=True, check=True)
        found: dict[str, Any] = json.loads(out.stdout)[0]
        return found

    def inside(self, service: str, *words: str) -> tuple[int, str]:
        """Run a command in a service's container."""
        done = subprocess.run(
            [*self.podman, "exec", self.name(service), *words], text=True, capture_output=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def name(self, service: str) -> str:
        """A container's name; podman-compose and docker compose spell it differently."""
        command = [*self.podman, "ps", "-a", "--format", "{{.Names}}"]
        names = subprocess.run(command, text=True, capture_output=True, check=True).stdout.split()
        pattern = re.compile(rf"^bondhu[-_]{re.escape(service)}[-_]1$")
        return next((name for name in names if pattern.match(name)), f"bondhu-{service}-1")


def wait_ready(url: str) -> float:
    """Wait until /ready says so; return how long that took."""
    began = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5):
                return time.monotonic() - began
        except OSError as problem:
            if time.monotonic() - began > READY_WITHIN_S:
                sys.exit(f"not ready within {READY_WITHIN_S:.0f} s: {problem}")
        time.sleep(2)


def chat(url: str, key: str, words: str) -> tuple[str, float]:
    """Ask; return the answer and the seconds that it took."""
    body = {"model": "bondhu", "max_tokens": 48, "messages": [{"role": "user", "content": words}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=120) as reply:
        answer = json.load(reply)["choices"][0]["message"]["content"]
    return answer, time.monotonic() - began


# Version 2 of the kernel's control groups names each reading once, version 1 keeps a folder for each kind.
READINGS = {
    "now": ("memory.current", "memory/memory.usage_in_bytes"),
    "peak": ("memory.peak", "memory/memory.max_usage_in_bytes"),
    "limit": ("memory.max", "memory/memory.limit_in_bytes"),
    "cpu": ("cpu.stat", "cpuacct/cpuacct.usage"),
    "throttled": ("cpu.stat", "cpu/cpu.stat"),
    "events": ("memory.events", "memory/memory.oom_control"),
    "memory": ("memory.stat", "memory/memory.stat"),
}


def used(engine: Engine, service: str) -> dict[str, float]:
    """What a container's own control group says: memory now and at most, its limit, seconds of CPU and throttled."""
    shown = "; ".join(f"echo '# {name}'; cat {new} 2>/dev/null || cat {old}" for name, (new, old) in READINGS.items())
    _, text = engine.inside(service, "sh", "-c", f"cd /sys/fs/cgroup; {shown}")
    parts = dict(re.findall(r"^# (\w+)\n((?:(?!# ).*\n?)*)", text, re.M))

    def number(part: str, *names: str) -> float:
        body = parts.get(part, "")
        found = [re.search(rf"^{name} (\d+)$", body, re.M) for name in names]
        return next((float(match[1]) for match in found if match), float("nan"))

    def single(part: str) -> float:
        body = parts.get(part, "").strip()
        return float(body) if body.isdigit() else float("nan")

    is_new = "usage_usec" in parts.get("cpu", "")
    return {
        "limit": single("limit") / MIB,
        "peak": single("peak") / MIB,
        "now": single("now") / MIB,
        "anonymous": number("memory", "anon", "rss") / MIB,
        "cpu_s": number("cpu", "usage_usec") / 1e6 if is_new else single("cpu") / 1e9,
        "throttled_s": number("throttled", "throttled_usec") / 1e6
        if is_new
        else number("throttled", "throttled_time") / 1e9,
        "oom_kills": number("events", "oom_kill"),
    }


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description="Run docker-compose.cpu.yml for real.")
    parser.add_argument("--compose", default="docker compose", help="the command for compose files")
    parser.add_argument("--podman", default="docker", help="the command for single containers")
    parser.add_argument("--port", default="18000", help="to publish the gateway on")
    parser.add_argument("--uid", default="54321", help="the user id of every process: any will do")
    parser.add_argument("--chats", type=int, default=8)
    parser.add_argument("--keep", action="store_true", help="leave it running")
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    options = parser.parse_args()
    environ = {**os.environ, "BONDHU_PORT": options.port, "BONDHU_UID": options.uid}
    engine = Engine(shlex.split(options.compose), shlex.split(options.podman), environ)
    url = f"http://127.0.0.1:{options.port}"
    if not options.no_build:
        engine.run("build", "api", "celery-worker")
    engine.run("up", "-d", "redis", "init", "api", "celery-worker")
    try:
        drive(engine, url, options.chats)
    finally:
        if not options.keep:
            began = time.monotonic()
            engine.run("down", "--volumes", check=False)
            print(f"stopped and removed in {time.monotonic() - began:.0f} s")


def drive(engine: Engine, url: str, chats: int) -> None:
    """Use what runs and print what it took."""
    print(f"ready after {wait_ready(url):.0f} s")
    code, text = engine.inside("api", "cat", "/var/lib/bondhu/dev.env")
    key = dict(line.split("=", 1) for line in text.splitlines() if "=" in line).get("OPENAI_API_KEY", "")
    assert code == 0, text
    times = []
    for number in range(chats):
        answer, took_s = chat(url, key, f"What is the capital of France? Question {number}.")
        assert answer.strip(), "an empty answer"
        times.append(took_s)
        if number == 0:
            print(f"first answer: {answer.strip()[:100]!r}")
    print(
        f"{chats} chats, one after another: median {sorted(times)[len(times) // 2]:.1f} s, longest {max(times):.1f} s"
    )
    for service in ("api", "celery-worker"):
        code, words = check_health(engine, service)
        print(f"health check of {service}: {'healthy' if code == 0 else words.strip()[:200]}")
    failed = []
    print(f"\n{'':<14} {'limit':>6} {'peak':>6} {'now':>6} {'anonymous':>10} MiB {'CPU':>8} {'throttled':>10} s  user")
    for service in SERVICES:
        about, state = used(engine, service), engine.inspect(service)
        uid = engine.inside(service, "id", "-u")[1].strip()
        memory = f"{about['limit']:6.0f} {about['peak']:6.0f} {about['now']:6.0f} {about['anonymous']:10.0f}"
        print(f"{service:<14} {memory}     {about['cpu_s']:8.1f} {about['throttled_s']:10.1f}    {uid}")
        restarts = state.get("RestartCount", 0)
        if about["oom_kills"] > 0 or state["State"].get("OOMKilled") or restarts:
            failed.append(f"{service}: {about['oom_kills']:.0f} killed for memory, started again {restarts} times")
    print()
    if failed:
        sys.exit("; ".join(failed))


def check_health(engine: Engine, service: str) -> tuple[int, str]:
    """Run the image's own health check, until the first task of the schedule came back."""
    which = "gateway" if service == "api" else "worker"
    deadline = time.monotonic() + 120
    while True:
        code, words = engine.inside(service, "python", "-m", "serving.supervisor.health_check", which)
        if code == 0 or time.monotonic() > deadline:
            return code, words
        time.sleep(5)


if __name__ == "__main__":
    main()
