"""Upgrades a loaded service from blue to green and rolls it back, for real: `make compose-test-upgrade`.

    python deploy/docker/compose_test/upgrade.py [--compose "docker compose"] [--containers docker] [--keep]

Green is the version that is here with a migration more (next_version.py). Applications talk all the time through
HAProxy (load.py). The first switch waits only a moment for open streams, so that some are cut and have to be resumed;
the way back waits for them. It fails when a request failed, or when something that was acknowledged is lost. Standard
library only.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

from client import Client, Refused, wait_ready
from engine import Engine
from faults import READY_WITHIN_S
from load import Load, Tally

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "blue_green"))

from switch import FILES, NotSwitched, Switch  # noqa: E402 - a neighbour of this folder

IMAGE, NEXT = "localhost/bondhu", "localhost/bondhu-next"
HAPROXY = "docker.io/library/haproxy:2.8-bookworm"
STEADY_S = 20.0
CUT_S, WAIT_S = 3.0, 120.0  # how long the two switches wait for open streams


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="upgrade", description="Upgrade and roll back under load.")
    parser.add_argument("--compose", default="docker compose")
    parser.add_argument("--containers", default="docker")
    parser.add_argument("--port", default="18001")
    parser.add_argument("--keep", action="store_true", help="leave it running")
    options = parser.parse_args()
    environ = {**os.environ, "BONDHU_PORT": options.port, "BONDHU_GREEN": NEXT, "BONDHU_DRAIN_S": "2"}
    engine = Engine(shlex.split(options.compose), shlex.split(options.containers), list(FILES), environ)
    build_next(engine)
    engine.run("--profile", "blue", "up", "-d", "redis", "init", "haproxy", "api-blue", "worker-blue")
    wrong: list[str] = []
    try:
        wrong = drive(engine, f"http://127.0.0.1:{options.port}")
    except (Refused, NotSwitched) as problem:
        wrong = [str(problem)]
        for service in ("haproxy", "api-blue", "api-green"):
            print(engine.command("logs", "--tail", "30", engine.name(service), check=False))
    finally:
        if not options.keep:
            engine.run("--profile", "blue", "--profile", "green", "down", "--volumes", check=False)
    if wrong:
        sys.exit("\n".join(wrong))


def build_next(engine: Engine) -> None:
    """The next version's images; and one of HAProxy where there is none."""
    folder_inside = "/opt/bondhu/venv/lib/python3.11/site-packages/storage/migrations/versions"
    listed = engine.command("run", "--rm", "--entrypoint", "ls", f"{IMAGE}:worker", folder_inside)
    versions = sorted(name for name in listed.split() if name[0].isdigit())
    with tempfile.TemporaryDirectory() as folder:
        migration = (HERE / "next_version.py").read_text().replace("HEAD", versions[-1].partition("_")[0])
        (Path(folder) / "next_version.py").write_text(migration)
        (Path(folder) / "next_version.py").chmod(0o644)
        for stage in ("small", "worker"):
            about = ("--file", str(HERE / "next.Dockerfile"), "--build-arg", f"OF={IMAGE}:{stage}")
            engine.command("build", *about, "--tag", f"{NEXT}:{stage}", folder)
    if not engine.command("images", "--quiet", HAPROXY, check=False).strip():
        about = ("--network", "host", "--file", str(HERE / "stand-ins.Dockerfile"), "--target", "haproxy")
        engine.command("build", *about, "--tag", HAPROXY, folder_of_nothing())


def folder_of_nothing() -> str:
    """A context for a Dockerfile that copies nothing."""
    return tempfile.mkdtemp()


def drive(engine: Engine, url: str) -> list[str]:
    """Load, upgrade, load, roll back, load; return what is wrong."""
    print(f"blue is ready after {wait_ready(url, READY_WITHIN_S):.0f} s", flush=True)
    text = engine.inside("api-blue", "cat", "/var/lib/bondhu/dev.env")[1]
    key = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)["OPENAI_API_KEY"]
    client = Client(url, key, f"upgrade-{os.getpid()}")
    client.chat("Before anything is upgraded, I plant a tulip.")
    load = Load(url, key)
    load.start()
    wrong: list[str] = []
    try:
        time.sleep(STEADY_S)
        for colour, drain_s in (("green", CUT_S), ("blue", WAIT_S)):
            load.phase = f"switch to {colour}"
            print(f"-- {load.phase}, open requests are waited for {drain_s:.0f} s", flush=True)
            Switch(engine, ready_s=READY_WITHIN_S, drain_s=drain_s, say=say).to(colour)
            print(f"   {revision(engine, colour)}", flush=True)
            load.phase = f"with {colour}"
            time.sleep(STEADY_S)
    except NotSwitched as problem:  # what was answered meanwhile is reported all the same
        wrong.append(str(problem))
        print(engine.command("logs", "--tail", "30", engine.name("api-blue"), check=False))
    finally:
        load.stop()
    client.acknowledged.sentences += load.sentences
    client.acknowledged.jobs += load.jobs
    for job in load.jobs:
        client.wait_done(job, 180)
    wrong += report(load.phases)
    lost = client.missing()
    print(f"{len(load.sentences) + 1} sentences in memory and {len(load.jobs)} jobs, {len(lost)} were lost")
    if not sum(tally.resumed for tally in load.phases.values()):
        wrong.append("no stream had to be resumed: nothing is shown about that")
    return wrong + lost


def say(words: str) -> None:
    """Print a step at once."""
    print(f"   {words}", flush=True)


def revision(engine: Engine, colour: str) -> str:
    """Which migration the database has, asked of a colour's container."""
    code = (
        "import sqlite3; file = sqlite3.connect('/var/lib/bondhu/bondhu.db'); "
        "print(*file.execute('select version_num from alembic_version').fetchone())"
    )
    found = engine.inside(f"api-{colour}", "python", "-c", code)[1].strip()
    return f"{colour} serves on the database of migration {found}"


def report(phases: dict[str, Tally]) -> list[str]:
    """Print what came of each phase; return what failed."""
    wrong = []
    for phase, tally in phases.items():
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.answered.items()))
        slowest = ", ".join(f"{kind} {value:.1f} s" for kind, value in sorted(tally.slowest_s.items()))
        print(f"{phase}: answered {counts}; {tally.resumed} streams resumed; {len(tally.failed)} failed")
        print(f"   slowest: {slowest}")
        wrong += [f"{phase}: {each}" for each in tally.failed[:20]]
    return wrong


if __name__ == "__main__":
    main()
