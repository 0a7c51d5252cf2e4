"""Ray's start hook, inside `ray start` before it starts anything: what there is no option for, in Ray 2.60.

It disables the Ray Client server (a process and a port), and with `ray.dashboard: serve` all of the dashboard's
processes but Serve's, by an argument that `dashboard.py` has and `ray start` does not pass on.
"""

import os
from typing import Any

DASHBOARD = "BONDHU_RAY_DASHBOARD"  # as in ray_head, whose imports this process does not need


def adjust(parameters: Any, _head: bool) -> None:
    """Change what `ray start` is about to do."""
    parameters.ray_client_server_port = None
    if os.environ.get(DASHBOARD) == "serve":
        _only_serve()


def _only_serve() -> None:
    from ray._private import ray_constants, services

    start = services.start_ray_process

    def start_less(command: list[str], process_type: str, *args: Any, **options: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_DASHBOARD:
            command = [*command, "--modules-to-load=ServeHead"]
        return start(command, process_type, *args, **options)

    services.start_ray_process = start_less
