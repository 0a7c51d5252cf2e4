"""What Ray's start hook changes, in a process of its own with Ray's own way of starting processes stopped short."""

import os
import subprocess
import sys

HOOKED = """
import types
from ray._private import ray_constants, services
services.start_ray_process = lambda command, process_type, **_: print(process_type, *command)
from serving.cluster.ray_start_hook import adjust
parameters = types.SimpleNamespace(ray_client_server_port=10001)
adjust(parameters, True)
print(parameters.ray_client_server_port)
services.start_ray_process(["dashboard.py", "--port=1"], ray_constants.PROCESS_TYPE_DASHBOARD)
services.start_ray_process(["raylet"], process_type=ray_constants.PROCESS_TYPE_RAYLET)
"""


def test_only_serve_is_left_of_the_dashboard_and_nothing_else_changes() -> None:
    """The argument is dashboard.py's own; the client server is off, the raylet as it was."""
    environ = {**os.environ, "BONDHU_RAY_DASHBOARD": "serve"}
    done = subprocess.run([sys.executable, "-c", HOOKED], env=environ, capture_output=True, text=True, check=False)
    expected = ["None", "dashboard dashboard.py --port=1 --modules-to-load=ServeHead", "raylet raylet"]
    assert done.stdout.split("\n")[:3] == expected, done.stderr
