"""The processes of the service one by one: `bondhu init`, `gateway`, `worker` and `ray-head`.

They are for containers and init systems, which supervise processes themselves; `bondhu up` runs the same ones. All read
the same configuration, take their command lines from `serving.supervisor.processes`, and log to standard output. All
but `init` wait until `bondhu init` has prepared the database.
"""

import asyncio
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from serving.cli.console import Exit, err, fail, out, settings_or_exit
from serving.config.addresses import database_url, redis_url
from serving.config.credentials import dev_env, load_secrets
from serving.config.private_files import keep_private
from serving.config.schema import Settings
from serving.resilience import redis_policy
from serving.supervisor.carried_models import CARRIED, link_carried
from serving.supervisor.processes import EXTRACTION, Component, components, environment, without_secrets

POLL_S = 1.0
Wait = Annotated[float, typer.Option(help="Maximum wait for other services, seconds.")]


def init(wait_s: Wait = 60) -> None:
    """Prepare the database, the secrets and the first key: once before the other processes, and after an upgrade."""
    settings = _begin()
    from serving.supervisor import bootstrap

    deadline = time.monotonic() + wait_s
    while True:
        try:
            bootstrap.prepare(settings)
            break
        except (OSError, ConnectionError) as problem:  # not reachable yet; other errors are permanent
            if time.monotonic() > deadline:
                fail(f"the database cannot be prepared: {problem}")
            time.sleep(POLL_S)
    out.print(f"the database is prepared; the first key is in {dev_env(settings.var_dir)}", soft_wrap=True)


def gateway(wait_s: Wait = 300) -> None:
    """Run the gateway alone; SIGTERM drains open requests, then stops it."""
    settings = _begin()
    _wait_until_prepared(settings, wait_s)
    _refuse_redis(settings, wait_s=5)  # the gateway also works without Redis
    _become(settings, _part(settings, "gateway"))


def worker(
    wait_s: Wait = 300,
    gateway_url: Annotated[
        str | None, typer.Option(help="URL of the gateway for jobs, if it runs on another machine or container.")
    ] = None,
) -> None:
    """Run the Celery worker with its scheduler; SIGTERM lets the running task finish."""
    settings = _begin()
    _wait_until_prepared(settings, wait_s)
    _refuse_redis(settings, wait_s)
    part = _part(settings.model_copy(update={"worker": settings.worker.model_copy(update={"enabled": True})}), "worker")
    extra_env: dict[str, str] = {}
    if gateway_url is not None and EXTRACTION in part.environment:
        extra_env[EXTRACTION] = json.dumps({**json.loads(part.environment[EXTRACTION]), "base_url": gateway_url})
    # Ray's ingress listens on loopback: if the gateway is elsewhere, so is the ingress, and no vectors are made.
    without = () if settings.embedder.enabled and gateway_url is None else ("BONDHU_INGRESS_URL",)
    _become(settings, part, extra_env, without)


def ray_head(
    with_gateway: Annotated[
        bool, typer.Option("--gateway", help="Also run the gateway, on a machine with room for only one container.")
    ] = False,
    wait_s: Wait = 300,
) -> None:
    """Run Ray's head and apply the engines to it, again after each restart; SIGTERM stops everything."""
    settings = _begin()
    if settings.ray.address is not None:
        fail("ray.address is set: an external cluster needs no head here", Exit.CONFIGURATION)
    if carried := os.environ.get(CARRIED):
        for name in link_carried(Path(carried), settings.models_dir):
            out.print(f"{name}: using the weights in the image", soft_wrap=True)
    from serving.cli.fetch import fetch_missing

    fetch_missing(settings)
    names = ["ray"]
    if with_gateway:
        names.append("gateway")
        _wait_until_prepared(settings, wait_s)
        _refuse_redis(settings, wait_s=5)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    from serving.supervisor.supervisor import Stack

    stack = Stack(settings, tuple(_part(settings, name) for name in names), _environment(settings), to_files=False)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stack.run(stop)

    asyncio.run(run())


def _begin() -> Settings:
    """Load the configuration and create the directories, private to this user."""
    settings = settings_or_exit()
    keep_private()
    folders = ("logs", "run", "redis")
    for folder in (*(settings.var_dir / name for name in folders), settings.runtime_dir / "tmp"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            fail(
                f"cannot create {folder}: {problem}. Mount a volume that the user {os.getuid()} can write to",
                Exit.MACHINE,
            )
    _, max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))  # connections are files
    return settings


def _environment(settings: Settings) -> dict[str, str]:
    return environment(settings, load_secrets(settings.var_dir))


def _part(settings: Settings, name: str) -> Component:
    return next(part for part in components(settings) if part.name == name)


def _become(
    settings: Settings, part: Component, extra_env: dict[str, str] | None = None, without: tuple[str, ...] = ()
) -> NoReturn:
    """Replace this process by that one (exec), so that it gets signals and sets the exit status."""
    env = {**_environment(settings), **part.environment, **(extra_env or {})}
    env = {name: value for name, value in env.items() if name not in without}
    os.chdir(settings.root)
    sys.stdout.flush()
    os.execve(part.command[0], part.command, without_secrets(env, part.name))  # noqa: S606 - our own command


def _refuse_redis(settings: Settings, wait_s: float) -> None:
    policy = redis_policy.policy_of(redis_url(settings), wait_s)
    if problem := redis_policy.refusal(policy):
        fail(problem, Exit.CONFIGURATION)
    if policy is None:
        err.print("warning: Redis does not respond or does not report its eviction policy; continuing", soft_wrap=True)


def _wait_until_prepared(settings: Settings, wait_s: float) -> None:
    """Wait until the database has this version's tables; in a separate process, so that its memory is freed."""
    command = (sys.executable, "-m", "storage.wait", str(wait_s))
    environ = {**os.environ, "BONDHU_DATABASE_URL": database_url(settings)}
    if subprocess.run(command, env=environ, check=False).returncode:
        fail(f"the database was not prepared within {wait_s:g} s: run `bondhu init`", Exit.NOT_RUNNING)
