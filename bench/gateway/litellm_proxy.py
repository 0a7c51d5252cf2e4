"""LiteLLM's proxy, in a virtual environment of its own, configured as its documentation recommends for production.

One worker, no database, no callbacks, only errors logged, the table of prices not downloaded:
https://docs.litellm.ai/docs/proxy/prod and /docs/proxy/cli. Versions are pinned in `litellm.txt`; 1.82.7 and 1.82.8 on
PyPI stole credentials (https://github.com/BerriAI/litellm/issues/24518) and are refused from any source. Nothing of
LiteLLM is imported here.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench import processes
from bench.stack import Target, check_alive, end, free_ports, generates, under_reaper

PINNED = Path(__file__).with_name("litellm.txt")
TROJANISED = frozenset({"1.82.7", "1.82.8"})
INSTALL_TIMEOUT_S = 900
ENVIRON = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
}


class CannotInstall(RuntimeError):
    """LiteLLM is not there and cannot be; the text says why."""


def pinned_version(requirements: str) -> str:
    """The version of LiteLLM that a requirements file pins; raises CannotInstall for none, or a trojanised one."""
    found = re.search(r"^litellm==([\w.]+)", requirements, re.M)
    if found is None:
        raise CannotInstall("no exact version of litellm is pinned")
    return _refused(found[1])


def _refused(version: str) -> str:
    if version in TROJANISED:
        raise CannotInstall(f"litellm {version} was trojanised")
    return version


def install(directory: Path) -> str:
    """Make the virtual environment in `directory`, unless it is there; the version. Raises CannotInstall."""
    expected = pinned_version(PINNED.read_text())
    if _installed(directory) != expected:
        uv, python = shutil.which("uv"), str(directory / "bin/python")
        make = [uv, "venv", "--clear", "--python", sys.executable] if uv else [sys.executable, "-m", "venv", "--clear"]
        add = (
            [uv, "pip", "install", "--python", python, "--compile-bytecode"] if uv else [python, "-m", "pip", "install"]
        )
        try:
            for command in ([*make, str(directory)], [*add, "--no-deps", "-r", str(PINNED)]):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as problem:
            output = getattr(problem, "stderr", None) or str(problem)
            raise CannotInstall(str(output).strip()[-500:]) from problem
    return _refused(_installed(directory) or "unknown")


def _installed(directory: Path) -> str | None:
    found = list(directory.glob("lib/python3*/site-packages/litellm-*.dist-info"))
    return found[0].name.removeprefix("litellm-").removesuffix(".dist-info") if len(found) == 1 else None


class LiteLlm:
    """The proxy in front of `upstream`.

    Args:
        venv: where `install` has put it.
        directory: for its configuration and log.
        upstream: the engine.

    """

    name = "LiteLLM"
    headers = ""

    def __init__(self, venv: Path, directory: Path, upstream: Target) -> None:
        self._venv = venv
        self._directory = directory
        self._upstream = upstream
        (self._port,) = free_ports(1)
        self.target = Target(f"http://127.0.0.1:{self._port}", f"sk-{secrets.token_urlsafe(24)}", upstream.model)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when a token has come through it. Raises StartFailed."""
        self._directory.mkdir(parents=True)
        config, log = self._directory / "config.yaml", self._directory / "litellm.log"
        config.write_text(json.dumps(self._config(), indent=2))  # JSON is YAML
        command = [str(self._venv / "bin/litellm"), "--config", str(config), "--num_workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith(("BONDHU", "OTEL_", "PYTHONDONT"))
        }
        began = time.monotonic()
        self._process = under_reaper(command, {**kept, **ENVIRON}, log)
        while not generates(self.target):
            check_alive(self._process, began, log)

    def roles(self) -> dict[str, list[int]]:
        """Its processes."""
        assert self._process is not None, "started"
        found = processes.by_role(self._process.pid)
        return {self.name: [pid for role, pids in found.items() if role != "reapers" for pid in pids]}

    def stop(self) -> None:
        """End it; returns when nothing is left."""
        end(self._process)

    def _config(self) -> dict[str, object]:
        model = {
            "model": f"openai/{self._upstream.model}",
            "api_base": f"{self._upstream.url}/v1",
            "api_key": self._upstream.key,
        }
        return {
            "model_list": [{"model_name": self._upstream.model, "litellm_params": model}],
            "general_settings": {"master_key": self.target.key},
            "litellm_settings": {"request_timeout": 600, "set_verbose": False, "telemetry": False},
            "router_settings": {"num_retries": 0},
        }
