"""The two commands that a machine has for containers: one for compose files, one for single containers.

Docker and podman differ in how they spell a container's name, and in what they do when a process is killed.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
RESTARTED_WITHIN_S = 20.0  # by the restart policy; after that it is started by hand, and said


@dataclass
class Engine:
    """Runs compose with these files, and commands in containers; `environ` fills the files' variables."""

    compose: list[str]
    containers: list[str]
    files: list[str]
    environ: dict[str, str]

    def run(self, *words: str, check: bool = True) -> str:
        """Run `compose` with these words; return its output."""
        files = [word for file in self.files for word in ("-f", file)]
        done = subprocess.run(
            [*self.compose, *files, *words], cwd=ROOT, env=self.environ, text=True, capture_output=True, check=False
        )
        if check and done.returncode:
            sys.exit(f"{shlex.join([*self.compose, *words])} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def command(self, *words: str, check: bool = True) -> str:
        """Run the command for single containers; return its output."""
        done = subprocess.run([*self.containers, *words], text=True, capture_output=True, check=False)
        if check and done.returncode:
            sys.exit(f"{shlex.join([*self.containers, *words])} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        found: dict[str, Any] = json.loads(self.command("inspect", self.name(service)))[0]
        return found

    def inside(self, service: str, *words: str) -> tuple[int, str]:
        """Run a command in a service's container; return its status and output."""
        done = subprocess.run(
            [*self.containers, "exec", self.name(service), *words], text=True, capture_output=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def name(self, service: str) -> str:
        """A container's name; podman-compose and docker compose spell it differently."""
        names = self.command("ps", "-a", "--format", "{{.Names}}").split()
        pattern = re.compile(rf"^bondhu[-_]{re.escape(service)}[-_]1$")
        return next((name for name in names if pattern.match(name)), f"bondhu-{service}-1")

    def image_mb(self, image: str) -> float:
        """An image's size in MB (10^6 bytes), with what it is made from."""
        return int(self.command("image", "inspect", "--format", "{{.Size}}", image).strip()) / 1e6

    def kill(self, service: str) -> str:
        """Kill a container's first process as the kernel would, and see it back; return how it came back."""
        before = self.inspect(service)["State"]["Pid"]
        try:
            os.kill(before, signal.SIGKILL)
        except PermissionError:  # not root: then by the engine, which does not start it again
            self.command("kill", "--signal", "KILL", self.name(service))
        deadline = time.monotonic() + RESTARTED_WITHIN_S
        while time.monotonic() < deadline:
            state = self.inspect(service)["State"]
            if state.get("Running") and state["Pid"] not in (0, before):
                return "started again by its restart policy"
            time.sleep(0.5)
        self.command("start", self.name(service))
        return "started again by hand"
