"""Runs docker-compose.gpu.yml without a GPU, the CPU image in the GPU's place: `make compose-test-gpu-shape`.

    .venv/bin/python deploy/docker/compose_test/gpu_shape.py [--compose "docker compose"] [--containers docker]

The file as it is, but for what needs a GPU (image, `gpus`, model), secrets of its own, and Grafana where there is no
image of it. An image that is not there is built from Debian's packages (stand-ins.Dockerfile). Everything goes through
HAProxy.
"""

import argparse
import json
import os
import secrets
import shlex
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import readings
import yaml
from client import Client, Refused, wait_ready
from engine import ROOT, Engine

READY_WITHIN_S = 600.0
STAND_INS = ("haproxy", "pgbouncer", "prometheus", "alertmanager", "redis_exporter")
MODEL = "bondhu-demo"
HTTPS_PORT = "18443"
# The stand-in of postgres knows no user 999, and that of Redis no folder that belongs to it.
USERS = {"postgres": "postgres", "redis": "0:0"}


def shape(file: Path, folder: Path, images: set[str]) -> tuple[dict[str, Any], list[str]]:
    """The file for this machine, and what was changed: secrets in `folder`, `images` are the ones that are there."""
    document = yaml.safe_load(file.read_text())
    changed = []
    for name, service in list(document["services"].items()):
        if service.pop("gpus", None):
            changed.append(f"{name} without gpus")
        if service["image"] == "localhost/bondhu:gpu":
            service["image"] = "localhost/bondhu:cpu"
            service["environment"] = service["environment"] | {"BONDHU_PROFILE": "cpu", "BONDHU__MODELS__ACTIVE": MODEL}
        service.pop("build", None)
        if service["image"] not in images:
            del document["services"][name]
            changed.append(f"without {name}: there is no image of it")
            continue
        if name in USERS:
            service["user"] = USERS[name]
        if name == "postgres":  # the folder of its socket: a tmpfs of this podman belongs to root, whatever its mode
            service["read_only"], service["tmpfs"] = False, ["/tmp"]
            changed.append("postgres without read_only")
        if "volumes" in service:
            service["volumes"] = [f"{ROOT}{each[1:]}" if each.startswith("./") else each for each in service["volumes"]]
    for secret in document["secrets"].values():
        secret["file"] = str(folder / Path(secret["file"]).name)
    return document, changed


def make_secrets(folder: Path) -> dict[str, str]:
    """The files of docs/deploy.md, and the variables that go with them."""
    password, token = secrets.token_hex(24), secrets.token_hex(32)
    chain = make_certificate(folder)
    contents = {
        "postgres_password": password,
        "pgbouncer_users": f'"bondhu" "{password}"\n',
        "grafana_password": password,
        "scrape_token": token,
        "tls.pem": chain,
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o444)
    folder.chmod(0o755)
    return {
        "DATABASE_URL": f"postgresql://bondhu:{password}@pgbouncer:6432/bondhu",
        "BONDHU_SCRAPE_TOKEN": token,
        "BONDHU_HTTPS_PORT": HTTPS_PORT,
    }


def make_certificate(folder: Path) -> str:
    """A certificate that lasts two days, which clients trust by `cert` in the folder; return its chain and key."""
    certificate, key = folder / "cert", folder / "key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate.read_text() + key.read_text()


def ensure_images(engine: Engine, document: dict[str, Any]) -> set[str]:
    """Build stand-ins for images that are not there; return the ones that are."""
    there = set()
    for service in document["services"].values():
        image = service["image"].replace("bondhu:gpu", "bondhu:cpu")
        stage = image.rpartition("/")[2].partition(":")[0]
        if not engine.command("images", "--quiet", image, check=False).strip() and stage in STAND_INS:
            file = str(Path(__file__).with_name("stand-ins.Dockerfile"))
            engine.command("build", "--network", "host", "--quiet", "--file", file, "--target", stage, "--tag", image)
        if engine.command("images", "--quiet", image, check=False).strip():
            there.add(image)
    return there


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="gpu_shape", description="Run docker-compose.gpu.yml without a GPU.")
    parser.add_argument("--compose", default="docker compose")
    parser.add_argument("--containers", default="docker")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    file = ROOT / "docker-compose.gpu.yml"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = {**os.environ, **make_secrets(folder)}
        target = folder / "compose.yml"
        engine = Engine(shlex.split(options.compose), shlex.split(options.containers), [str(target)], environ)
        images = ensure_images(engine, yaml.safe_load(file.read_text()))
        document, changed = shape(file, folder, images)
        target.write_text(yaml.safe_dump(document))
        print(f"changed: {'; '.join(changed)}")
        engine.run("up", "-d")
        wrong = []
        try:
            wrong = drive(engine, folder, tuple(name for name in document["services"] if name != "init"))
        except Refused as problem:
            wrong = [str(problem)]
            print(engine.command("logs", "--tail", "60", engine.name("gateway"), check=False))
        finally:
            if not options.keep:
                engine.run("down", "--volumes", check=False)
    if wrong:
        sys.exit("\n".join(wrong))


def drive(engine: Engine, folder: Path, services: tuple[str, ...]) -> list[str]:
    """Chats, an agent and a job over HTTPS; what Prometheus sees; memory beside limits."""
    url, trust = f"https://127.0.0.1:{HTTPS_PORT}", ssl.create_default_context(cafile=str(folder / "cert"))
    print(f"ready over HTTPS after {wait_ready(url, READY_WITHIN_S, trust):.0f} s", flush=True)
    text = engine.inside("gateway", "cat", "/var/lib/bondhu/dev.env")[1]
    key = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)["OPENAI_API_KEY"]
    client = Client(url, key, f"shape-{os.getpid()}", trust)
    times = [client.chat(f"I have told you {number} things.")[1] for number in range(8)]
    print(f"8 chats with memory: median {sorted(times)[4]:.1f} s")
    client.chat("Let us play tic-tac-toe.", model="bondhu/games")
    print(f"a job was done after {client.wait_done(client.job('stats'), 180):.0f} s")
    wrong = client.missing()
    try:
        client.metric("bondhu_cpu_cores", key)
        wrong.append("HAProxy lets /metrics through")
    except OSError:
        print("/metrics is not for the outside")
    wrong += readings.table(engine, services)
    wrong += unscraped() if "prometheus" in services else []
    return wrong + renewed(engine, folder)


def renewed(engine: Engine, folder: Path) -> list[str]:
    """Renew the certificate as docs/runbooks/CertificateEnds.md says; return what is wrong."""
    address = ("127.0.0.1", int(HTTPS_PORT))
    before = ssl.get_server_certificate(address)
    (folder / "tls.pem").write_text(make_certificate(folder))
    engine.command("kill", "--signal", "USR2", engine.name("haproxy"))
    began = time.monotonic()
    while ssl.get_server_certificate(address) == before:
        if time.monotonic() - began > 20:
            return ["HAProxy serves the old certificate 20 s after the signal"]
        time.sleep(0.2)
    print(f"the renewed certificate was served {time.monotonic() - began:.1f} s after the signal", flush=True)
    return []


def unscraped() -> list[str]:
    """What Prometheus cannot scrape, a minute after the start."""
    deadline = time.monotonic() + 60
    query = urllib.parse.urlencode({"query": "up"})
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/query?{query}", timeout=10) as reply:
            found = {each["metric"]["job"]: each["value"][1] for each in json.load(reply)["data"]["result"]}
        down = [job for job, value in found.items() if value != "1"]
        if (found and not down) or time.monotonic() > deadline:
            print(f"Prometheus scrapes {', '.join(sorted(set(found) - set(down)))}")
            return [f"Prometheus cannot scrape {job}" for job in down] + ([] if found else ["Prometheus has no target"])
        time.sleep(3)


if __name__ == "__main__":
    main()
