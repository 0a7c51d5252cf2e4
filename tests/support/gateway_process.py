"""The real gateway as `bondhu up` runs it, without engines: uvicorn, a database, and a Redis that a test may kill."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from serving.config import addresses
from serving.config.load import load_settings
from serving.supervisor.processes import components
from storage import api_keys, migrate
from storage.database import open_engine
from tests.support.databases.redis_process import RedisProcess

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 180.0  # a busy machine starts a process slowly
SCRAPE_TOKEN = "the-token-of-prometheus"
CLUSTER_KEY = "the-key-of-the-cluster"

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.05)


def command_of(pid: int) -> bytes:
    """Return a process's command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def make_key(database_url: str, app: str, **options: Any) -> str:
    """Store a key with these options of `create_key`; return its secret."""

    async def make() -> str:
        engine = open_engine(database_url)
        made = await api_keys.create_key(engine, app=app, name="", now=datetime.now(UTC), **options)
        await engine.dispose()
        return made.secret

    return asyncio.run(make())


class GatewayProcess:
    """A gateway of `workers` processes and its Redis, in `folder`; a context manager that ends both.

    With `beside` it uses that one's folder, Redis and engines, and listens on a port of its own. `environ` goes to the
    gateway, `redis_environ` to Redis, `process_environ` to the gateway without being read here: what it names may be
    unknown in this process. uvicorn imports from `cwd` first. `before` stands before the gateway's command line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        beside: "GatewayProcess | None" = None,
        redis_environ: Mapping[str, str] = {},
        process_environ: Mapping[str, str] = {},
        cwd: Path = ROOT,
        before: Sequence[str] = (),
        **environ: str,
    ) -> None:
        self.var_dir = folder / "var"
        self.run_dir = folder / "run"
        self.log = folder / "gateway.log"
        self.ingress_port = beside.ingress_port if beside else free_port()
        self._is_first = beside is None
        self._process_environ = process_environ
        self._cwd = cwd
        self._before = before
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BONDHU", "OTEL"))}
        self._environ = kept | {
            "BONDHU_ROOT": str(ROOT),
            "BONDHU_VAR_DIR": str(self.var_dir),
            "BONDHU_CLUSTER_KEY": CLUSTER_KEY,
            "BONDHU_SCRAPE_TOKEN": SCRAPE_TOKEN,
            "BONDHU__MODELS__ACTIVE": "bondhu-demo",
            "BONDHU__RUNTIME_DIR": str(self.run_dir),
            "BONDHU__GATEWAY__PORT": str(free_port()),
            "BONDHU__GATEWAY__WORKERS": str(workers),
            "BONDHU__RAY__INGRESS_PORT": str(self.ingress_port),
            **environ,
        }
        settings = load_settings(environ=self._environ)
        self.environ: Mapping[str, str] = self._environ
        self.url = f"http://127.0.0.1:{settings.gateway.port}"
        self.redis = beside.redis if beside else RedisProcess(self.run_dir, **redis_environ)
        self.database_url = addresses.database_url(settings)
        (self._part,) = [part for part in components(settings) if part.name == "gateway"]
        self._gateway: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "GatewayProcess":
        """Start both and wait for /health."""
        if self._is_first:
            for directory in (self.var_dir, self.run_dir):
                directory.mkdir()
            migrate.upgrade(self.database_url)
            self.redis.start()
        try:
            self.start()
        except BaseException:  # nothing calls __exit__ after a start that failed
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        """Start the gateway alone and wait for /health."""
        with self.log.open("ab") as output:
            environ = {**self._environ, **self._part.environment, **self._process_environ}
            self._gateway = subprocess.Popen(
                [*self._before, *self._part.command], env=environ, cwd=self._cwd, stdout=output, stderr=output
            )
        wait_for(self._is_healthy, f"the gateway to answer; its log: {self.log}")

    @property
    def pid(self) -> int:
        """The process id of the gateway, or of its only worker."""
        assert self._gateway is not None
        return self._gateway.pid

    @property
    def is_running(self) -> bool:
        """Whether the gateway has been started, and neither stopped nor killed."""
        return self._gateway is not None

    def __exit__(self, *_: object) -> None:
        """End both; an orderly stop has status 0."""
        status = self.stop()
        if self._is_first:
            self.redis.kill()
        assert status in (None, 0), f"the gateway ended with status {status}; its log: {self.log}"

    def stop(self) -> int | None:
        """Stop the gateway as the supervisor does; returns its exit status."""
        gateway, self._gateway = self._gateway, None
        if gateway is None:
            return None
        gateway.terminate()
        try:
            return gateway.wait(DEADLINE_S)
        finally:
            gateway.kill()

    def kill(self) -> None:
        """SIGKILL the gateway."""
        assert self._gateway is not None
        self._gateway.kill()
        self._gateway.wait()
        self._gateway = None

    def send(self, number: signal.Signals) -> None:
        """Send the gateway a signal."""
        assert self._gateway is not None
        self._gateway.send_signal(number)

    def serves(self) -> bool:
        """Whether it does, as the supervisor sees it."""
        return asyncio.run(self._part.serves())

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        assert self._gateway is not None
        children = Path(f"/proc/{self._gateway.pid}/task/{self._gateway.pid}/children").read_text().split()
        return [pid for pid in map(int, children) if b"spawn_main" in command_of(pid)]

    def until_ready(self, model: str) -> None:
        """Wait until each worker can answer, as the kernel may give connections to either."""
        wait_for(
            lambda: value(self.scrape(), "bondhu_ready_workers", model=model) == max(1, len(self.workers())),
            f"every worker to know {model}",
        )

    def kill_a_worker(self) -> int:
        """SIGKILL the busiest worker and wait until uvicorn has replaced it; returns its process id."""
        victim = max(self.workers(), key=lambda pid: len(psutil.Process(pid).net_connections("tcp")))
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in self.workers() and len(self.workers()) == 2, "another worker")
        return victim

    def make_key(self, app: str, **options: Any) -> str:
        """Store a key with these options of `create_key`; return its secret."""
        return make_key(self.database_url, app, **options)

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        """Send a GET on a new connection, so that any worker may answer."""
        all_headers = headers | ({"authorization": f"Bearer {token}"} if token else {})
        with httpx.Client(verify=False, timeout=DEADLINE_S) as client:  # a context for TLS takes longer than the rest
            return client.get(self.url + path, headers=all_headers)

    def scrape(self) -> Samples:
        """Return what Prometheus would see: values by name and labels."""
        answer = self.get("/metrics", SCRAPE_TOKEN)
        assert answer.status_code == 200, answer.text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def _is_healthy(self) -> bool:
        assert self._gateway is not None
        assert self._gateway.poll() is None, self.log.read_text()
        try:
            return self.get("/health").status_code == 200
        except httpx.TransportError:
            return False


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """Return a sample's value; None when there is none."""
    return samples.get((name, frozenset(labels.items())))
