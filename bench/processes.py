"""Processor time and memory of a stack's processes, by role, from /proc.

PSS (proportional set size) divides a page's size among the processes that map it, so the sum over processes is what the
stack uses; https://docs.kernel.org/filesystems/proc.html.
"""

import os
import signal
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from serving.supervisor.reaper import descendants

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
ROLES = (  # the first whose text is in the command line
    ("reaper.py", "reapers"),
    ("serving.cli", "bondhu up"),
    ("bin/bondhu", "bondhu up"),
    ("serving.supervisor.supervisor", "supervisor"),
    ("serving.gateway.app:", "gateway"),
    ("redis-server", "Redis"),
    ("valkey-server", "Redis"),
    ("bin/litellm", "LiteLLM"),
    ("bench.gateway.stub", "stub"),
    ("jobs.worker", "Celery"),
    ("[cel", "Celery"),
    ("ray.scripts", "ray start"),
    ("VLLM::Worker", "vLLM worker"),
    ("VLLM::EngineCore", "vLLM EngineCore"),
    ("multiprocessing.spawn", "vLLM EngineCore"),  # vLLM cannot always set its title
    ("vllm.entrypoints", "vLLM API server"),
    ("ServeReplica:embedder", "embedder"),
    ("ServeReplica:directory", "directory"),
    ("ServeReplica:engine", "engine replica (actor)"),
    ("ServeController", "Serve controller"),
    ("ProxyActor", "Serve proxy"),
    ("gcs_server", "Ray GCS"),
    ("raylet/raylet", "raylet"),
    ("DashboardAgent", "Ray agents"),
    ("RuntimeEnvAgent", "Ray agents"),
    ("agent/main.py", "Ray agents"),
    ("dashboard", "Ray dashboard"),
    ("ray::", "Ray, other workers"),
)


@dataclass(frozen=True)
class Usage:
    """What one role takes: processes, PSS in MB (10^6 bytes) and processor time since their start in seconds."""

    processes: int
    pss_mb: float
    cpu_s: float


def command_line(pid: int) -> list[str]:
    """The process's command line; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").strip("\0").split("\0")
    except OSError:
        return []


def environment(pid: int) -> dict[str, str]:
    """The environment that the process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def by_role(root: int) -> dict[str, list[int]]:
    """The process ids of `root` and all its descendants, by role."""
    found: dict[str, list[int]] = defaultdict(list)
    for pid in (root, *descendants(root)):
        words = " ".join(command_line(pid))
        if words:
            found[next((role for text, role in ROLES if text in words), "other")].append(pid)
    return dict(found)


def cpu_s(pid: int) -> float:
    """Processor time of a process, user and system, in seconds; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def pss_mb(pid: int) -> float:
    """Proportional set size in MB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:")), 0.0)


def usage(roles: dict[str, list[int]]) -> dict[str, Usage]:
    """Memory and processor time of each role, the largest first."""
    found = {
        role: Usage(len(pids), round(sum(map(pss_mb, pids)), 1), round(sum(map(cpu_s, pids)), 2))
        for role, pids in roles.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].pss_mb))


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
