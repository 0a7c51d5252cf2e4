"""One gateway with its Redis and its database, as `bondhu up` runs them, without Ray: with everything on, or all off.

"Off" means everything that the configuration can switch off. These have no switch: the key is checked against SQL,
every request goes through admission and into the ledger's journal, and its answer carries an id.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench import processes
from bench.stack import Target, check_alive, end, free_ports, generates, under_reaper
from serving.config.addresses import database_url, gateway_url
from serving.config.credentials import load_secrets
from serving.config.load import load_settings
from serving.supervisor.processes import Component, components, environment
from storage import api_keys, migrate
from storage.database import open_engine

TIER = "bench"
HIGH = 10**9  # counted against, never reached
LIMITS = {
    f"{whose}{what}": HIGH
    for whose in ("", "user_")
    for what in ("requests_per_minute", "tokens_per_minute", "tokens_per_day")
}
ON = {
    "BONDHU__TIERS": json.dumps({TIER: LIMITS}),
    "BONDHU__OBSERVABILITY__LOG_FORMAT": "json",
    "BONDHU__STREAMS__COALESCE": "worker",
}
OFF = {
    "BONDHU__TIERS": json.dumps({TIER: {}}),
    "BONDHU__OBSERVABILITY__METRICS": "false",
    "BONDHU__OBSERVABILITY__LOG_LEVEL": "error",
    "BONDHU__CACHE__ENABLED": "false",
    "BONDHU__STREAMS__COALESCE": "off",
    "BONDHU__GATEWAY__GZIP_MIN_BYTES": "0",
    "BONDHU__SAFETY__ENABLED": "false",
}
USER_HEADER = "x-bondhu-user: bench\r\n"


class GatewayAlone:
    """A gateway of one worker.

    Args:
        name: of the side.
        directory: for everything that it writes.
        directory_port: where the directory of engines answers on the loopback.
        overrides: settings, ON or OFF.
        headers: for its requests.

    """

    def __init__(
        self, name: str, directory: Path, directory_port: int, overrides: Mapping[str, str], headers: str = ""
    ) -> None:
        self.name = name
        self.headers = headers
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("BONDHU__", "OTEL_", "GEMINI_"))}
        self._environ = {
            **kept,
            "BONDHU__MODELS__ACTIVE": "bondhu-demo",
            **overrides,
            "BONDHU_VAR_DIR": str(directory),
            "BONDHU__RUNTIME_DIR": str(directory / "run"),
            "BONDHU__GATEWAY__PORT": str(free_ports(1)[0]),
            "BONDHU__RAY__INGRESS_PORT": str(directory_port),
            "BONDHU__EMBEDDER__ENABLED": "false",
        }
        self.settings = load_settings(environ=self._environ)
        self.target = Target(gateway_url(self.settings), "", self.settings.models.active)
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it; returns when a token has come through it. Raises StartFailed."""
        for folder in ("redis", "run/tmp"):
            (self._directory / folder).mkdir(parents=True)
        environ = environment(self.settings, load_secrets(self.settings.var_dir), self._environ)
        migrate.upgrade(database_url(self.settings))
        self.target = Target(self.target.url, asyncio.run(self._make_key()), self.target.model)
        for part in components(self.settings):
            if part.name in ("redis", "gateway"):
                self._start(part, environ)
        began = time.monotonic()
        while not generates(self.target):
            check_alive(self._processes[-1], began, self._log("gateway"))

    def roles(self) -> dict[str, list[int]]:
        """Its processes by role, without the reapers that would end them."""
        found: dict[str, list[int]] = {}
        for process in self._processes:
            for role, pids in processes.by_role(process.pid).items():
                found[role] = found.get(role, []) + pids
        return {"gateway": found["gateway"], "Redis": found["Redis"]}

    def stop(self) -> None:
        """End it; returns when nothing is left."""
        for process in reversed(self._processes):
            end(process)

    def _start(self, part: Component, environ: Mapping[str, str]) -> None:
        process = under_reaper(part.command, {**environ, **part.environment}, self._log(part.name))
        self._processes.append(process)

    def _log(self, part: str) -> Path:
        return self._directory / f"{part}.log"

    async def _make_key(self) -> str:
        engine = open_engine(database_url(self.settings))
        made = await api_keys.create_key(engine, app="bench", name="", now=datetime.now(UTC), tier=TIER)
        await engine.dispose()
        return made.secret
