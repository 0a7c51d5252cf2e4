"""The upstream of every side of `bench.gateway`: an engine, and the directory that tells gateways where it is.

The engine is the stub itself (`bench.gateway.stub`), or one that already runs; the directory is always the stub's.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import orjson

from bench import processes
from bench.gateway.stub import Plan
from bench.stack import Target
from serving.config.schema import Settings
from serving.engines.wire import ReplicaReport, routing

KEY = "bench"  # of the stub, which does not look at it


class Upstream:
    """An engine and a directory; `engine` is one that runs elsewhere, None for the stub.

    Args:
        settings: name the models, as the gateways' do.
        engine: where requests end.
        first_s: the stub's time to its first byte, s.
        step_s: between two tokens of the stub's streams, s.

    """

    def __init__(self, settings: Settings, engine: Target | None, *, first_s: float, step_s: float) -> None:
        spec = settings.catalogue[settings.models.active]
        report: ReplicaReport = {
            "replica_id": "bench",
            "epoch": 1,
            "model": spec.id,
            "fingerprint": spec.fingerprint(),
            "revision": "none",
            "quantization": spec.quantization,
            "state": "ready",
            "reason": "",
            "address": engine.url if engine else "",
            "key": engine.key if engine else KEY,
            "running": 0,
            "waiting": 0,
            "kv_cache_usage": 0.0,
        }
        # Without live settings: each gateway keeps those that it was started with, on or off.
        routes: Any = {name: route for name, route in routing(settings).items() if name != "live"}
        plan = Plan(routes, report, first_s, step_s)
        command = [sys.executable, "-m", "bench.gateway.stub"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None, "piped"
        assert self._process.stdout is not None, "piped"
        self._process.stdin.write(orjson.dumps(asdict(plan)) + b"\n")
        self._process.stdin.flush()
        self.directory_port: int = json.loads(self._process.stdout.readline())
        self.target = engine or Target(f"http://127.0.0.1:{self.directory_port}", KEY, spec.id)

    def roles(self) -> dict[str, list[int]]:
        """Its processes by role; of an engine elsewhere none, but what listens there can be asked for."""
        return processes.by_role(self._process.pid)

    def stop(self) -> None:
        """End the stub."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def address(text: str) -> str:
    """The address of an engine that a person gave, in the form of the directory; raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{text}: give http://host:port")
    return f"http://{parts.netloc}"
