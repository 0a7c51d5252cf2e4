"""The containers of the compose project on this machine, by `docker ps` or `podman ps`; none without either."""

import shutil
import subprocess
from collections.abc import Iterator

from serving.doctor.finding import Finding
from serving.doctor.levels import Level

PROJECT = "bondhu"  # the `name` of the compose files
TIMEOUT_S = 10.0
_FORMAT = "{{.Names}}\t{{.State}}\t{{.Status}}"


def containers(project: str = PROJECT) -> Iterator[Finding]:
    """A finding for each container: whether it runs and is healthy, restarts again and again, or has ended."""
    program = next((name for name in ("docker", "podman") if shutil.which(name)), None)
    if program is None:
        return
    command = [program, "ps", "--all", "--filter", f"label=com.docker.compose.project={project}", "--format", _FORMAT]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return
    for line in listed.splitlines():
        name, state, status = (*line.split("\t"), "", "")[:3]
        yield Finding("container", _level(state, status), f"container {name}: {status or state}")


def _level(state: str, status: str) -> Level:
    if "unhealthy" in status or state in ("restarting", "dead", "paused"):
        return Level.CRITICAL
    if state == "exited" and "(0)" not in status:  # `init` ends with 0
        return Level.CRITICAL
    return Level.HEALTHY
