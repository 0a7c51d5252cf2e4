"""The measured services: a whole Bondhu, started for the benchmark, and vLLM's server alone.

Both run under a reaper, so that nothing outlives the benchmark. The stack has its own ports and var directory. vLLM
alone is started with the command line and environment of the stack's engine, read from /proc, so that only Bondhu and
Ray differ. While it is measured, every process of the stack is stopped (SIGSTOP).
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from models.engine_process import KEY_VARIABLE
from models.serve_ingress import CLUSTER_HEADER
from serving.config.credentials import load_secrets, read_env_file
from serving.config.load import load_settings
from serving.supervisor import reaper, run_files

START_TIMEOUT_S = 600.0
GRACE_S = 90.0
PORTS = ("GATEWAY__PORT", "RAY__PORT", "RAY__INGRESS_PORT", "RAY__DASHBOARD_PORT")


class StartFailed(RuntimeError):
    """It ended, or did not answer in time; the text names the log."""


@dataclass(frozen=True)
class Target:
    """Where load can be sent."""

    url: str
    key: str
    model: str


class Bondhu:
    """A stack in `directory`; `overrides` are further settings (`BONDHU__...`)."""

    def __init__(self, directory: Path, overrides: Mapping[str, str]) -> None:
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._environ = {
            **os.environ,
            **{f"BONDHU__{name}": str(port) for name, port in ports.items()},
            "BONDHU__GATEWAY__HANG_TIMEOUT_S": "3600",  # it is stopped (SIGSTOP) while something else is measured
            **overrides,
            "BONDHU_VAR_DIR": str(directory),
            "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
        }
        self.settings = load_settings(environ=self._environ)
        _share_weights(self.settings.root / "var/models", directory / "models")
        self.log = directory / "bench-up.log"
        self.first_token_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """`bondhu up`; returns at the first token, after `first_token_s`. Raises StartFailed."""
        command = (sys.executable, "-m", "serving.cli", "up")
        began = time.monotonic()
        self._process = under_reaper(command, self._environ, self.log)
        while True:
            with contextlib.suppress(OSError, KeyError):
                if generates(self.gateway()):
                    self.first_token_s = time.monotonic() - began
                    return
            applied = run_files.read_state(self.settings.var_dir).get("apply", {})
            if applied.get("state") == "failed":
                raise StartFailed(applied["detail"])
            check_alive(self._process, began, self.log)

    def gateway(self) -> Target:
        """The gateway, with the key that `bondhu up` made."""
        values = read_env_file(self.settings.var_dir / "dev.env")
        url = values["OPENAI_BASE_URL"].removesuffix("/v1")
        return Target(url, values["OPENAI_API_KEY"], self.settings.models.active)

    def engine(self, model: str = "") -> Target:
        """A replica of `model` (the active one by default) itself, as the directory tells its gateway."""
        model = model or self.settings.models.active
        url = f"http://127.0.0.1:{self.settings.ray.ingress_port}/directory"
        key = load_secrets(self.settings.var_dir, {}).cluster_key
        with urllib.request.urlopen(urllib.request.Request(url, headers={CLUSTER_HEADER: key}), timeout=10) as answer:
            replicas = json.load(answer)["replicas"]
        report = next(each for each in replicas if each["model"] == model and each["state"] == "ready")
        return Target(report["address"], report["key"], report["model"])

    def command(self, *words: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Run `bondhu WORDS` for this stack and return what it printed. Raises StartFailed when it fails."""
        done = subprocess.run(
            (sys.executable, "-m", "serving.cli", *words),
            env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise StartFailed(f"bondhu {' '.join(words)}: {(done.stderr or done.stdout)[-2000:]}")
        return done.stdout.strip()

    def roles(self) -> dict[str, list[int]]:
        """Its processes by role."""
        details = run_files.holder(self.settings.var_dir)
        assert details is not None, "started"
        return processes.by_role(details["reaper"])

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop every process of it in its tracks, and let them go on afterwards."""
        pids = [pid for pids in self.roles().values() for pid in pids]
        processes.signal_all(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            processes.signal_all(pids, signal.SIGCONT)

    def stop(self) -> None:
        """End it; returns when nothing is left."""
        end(self._process)


class VllmAlone:
    """vLLM's server as the stack's engine runs it, without Bondhu and Ray."""

    def __init__(self, api_server_pid: int, model: str, log: Path) -> None:
        self.command = processes.command_line(api_server_pid)
        (port,) = free_ports(1)
        self.command[self.command.index("--port") + 1] = str(port)
        key = secrets.token_urlsafe(24)
        self._environ = {**processes.environment(api_server_pid), KEY_VARIABLE: key}
        self.target = Target(f"http://127.0.0.1:{port}", key, model)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it has generated. Raises StartFailed."""
        began = time.monotonic()
        self._process = under_reaper(self.command, self._environ, self.log)
        while not generates(self.target):
            check_alive(self._process, began, self.log)

    def roles(self) -> dict[str, list[int]]:
        """Its processes by role."""
        assert self._process is not None, "started"
        return processes.by_role(self._process.pid)

    def stop(self) -> None:
        """End it; returns when nothing is left."""
        end(self._process)


def _share_weights(kept: Path, link: Path) -> None:
    """Let a stack use, and add to, the weights that were fetched for this repository: none is downloaded twice."""
    if not link.exists():
        kept.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(kept)


def generates(target: Target) -> bool:
    """Whether one token comes back."""
    body: dict[str, Any] = {"model": target.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    headers = {"authorization": f"Bearer {target.key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{target.url}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def under_reaper(command: Sequence[str], environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process, however that ends."""
    with log.open("ab") as output:
        return subprocess.Popen(
            reaper.argv(command, grace_s=GRACE_S), stdin=subprocess.PIPE, stdout=output, stderr=output, env=environ
        )


def check_alive(process: subprocess.Popen[bytes], began: float, log: Path) -> None:
    """Wait a moment for what was started at `began` (monotonic seconds); raises StartFailed when that is in vain."""
    if process.poll() is not None:
        problem = f"it ended with status {process.returncode}"
    elif time.monotonic() - began > START_TIMEOUT_S:
        problem = f"it did not answer within {START_TIMEOUT_S:.0f} s"
    else:
        time.sleep(0.1)
        return
    raise StartFailed(f"{problem}; its log ends: {log.read_text(errors='replace')[-2000:]}")


def end(process: subprocess.Popen[bytes] | None) -> None:
    """End what `under_reaper` started, if it was; returns when nothing is left."""
    if process is not None:
        process.terminate()
        process.wait()


def free_ports(number: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
