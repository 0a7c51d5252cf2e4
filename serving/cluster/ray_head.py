"""How this machine's Ray head is started. No Ray import: `ray start` is a process like the others.

Everything listens on loopback (a cluster of several machines is started by its operator, see `ray.address`),
and every port that nobody needs to know is ephemeral, so that two stacks fit on one machine.
"""

import socket
import sys
from typing import Any

from serving.config.schema import Settings


def command(settings: Settings) -> tuple[str, ...]:
    """Return the command line of the head; it stays in the foreground and ends when a part of it dies."""
    ray = settings.ray
    flags = {
        "port": ray.port,
        "dashboard-host": ray.dashboard_host,
        "dashboard-port": ray.dashboard_port,
        "dashboard-agent-listen-port": 0,
        "min-worker-port": 0,
        "max-worker-port": 0,
        "object-store-memory": ray.object_store_mb * 10**6,
        "temp-dir": settings.runtime_dir / "ray",
        "include-log-monitor": "false",  # 49 MB; it copies worker output to drivers, and there are none
    }
    if ray.num_cpus is not None:
        flags["num-cpus"] = ray.num_cpus
    given = (f"--{name}={value}" for name, value in flags.items())
    # --no-monitor: the autoscaler of a cluster that has one node, 51 MB.
    switches = ("--head", "--block", "--no-monitor", "--disable-usage-stats", "--log-color=false")
    return (sys.executable, "-m", "ray.scripts.scripts", "start", *switches, *given)


def environment() -> dict[str, str]:
    """Return what the head needs beside the stack's common environment."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: the node's address is 127.0.0.1
        "DASHBOARD_METRIC_PORT": str(_free_port()),
        # The gateway has drained before the head is told to stop; Ray would wait another 30 s for its replicas.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_START_HOOK": "serving.cluster.ray_head.without_client_server",
    }


def without_client_server(parameters: Any, _head: bool) -> None:
    """Ray's start hook: no Ray Client server (a process and a port), for which `ray start` has no switch."""
    parameters.ray_client_server_port = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
