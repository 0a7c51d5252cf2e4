"""The command line of this machine's Ray head, without importing Ray.

Everything listens on loopback (a cluster of several machines is started by its operator, see `ray.address`), and ports
that nobody needs to know are ephemeral, so that two stacks can run on one machine.
"""

import socket
import sys

from serving.config.schema import Settings

DASHBOARD = "BONDHU_RAY_DASHBOARD"  # for the hook: how much of the dashboard is started


def command(settings: Settings) -> tuple[str, ...]:
    """Return the command line of the head; it runs in the foreground and exits when a part of it dies."""
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
    options = (f"--{name}={value}" for name, value in flags.items())
    # --no-monitor: no autoscaler, which a cluster of one node does not need (51 MB).
    switches = ("--head", "--block", "--no-monitor", "--disable-usage-stats", "--log-color=false")
    return (sys.executable, "-m", "ray.scripts.scripts", "start", *switches, *options)


def environment(settings: Settings) -> dict[str, str]:
    """Return the head's environment variables in addition to the stack's."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: the node's address is 127.0.0.1
        "DASHBOARD_METRIC_PORT": str(_free_port()),
        # The gateway drains before the head stops; by default Ray would wait another 30 s for its replicas.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_START_HOOK": "serving.cluster.ray_start_hook.adjust",
        DASHBOARD: settings.ray.dashboard,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
