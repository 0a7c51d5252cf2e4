"""Ray's start hook, which runs within `ray start`: sets what Ray 2.60 has no option for.

It disables the Ray Client server (a process and a port). With `ray.dashboard: serve`, it also disables the dashboard's
processes except Serve's, by an argument of `dashboard.py` that `ray start` does not expose.
"""

import os
from typing import Any

DASHBOARD = "BONDHU_RAY_DASHBOARD"  # as in ray_head, whose imports this process does not need


def adjust(parameters: Any, _head: bool) -> None:
    """Change the configuration of `ray start`."""
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
