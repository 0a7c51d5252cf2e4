"""The health checks of containers: `python -m serving.supervisor.health_check gateway|worker`, exit code 0 for healthy.

A gateway is healthy while every model that is served generated lately: it is /ready that is asked, not whether a
process lives. A worker is while it did one of the schedule's own tasks lately: those went through Redis and back.
Standard library only, because it is started every half minute where a CPU is dear.
"""

import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

WORKED_WITHIN_S = 420.0  # a task may take 300 s, and the schedule's next one comes within 30


def gateway(url: str, timeout_s: float = 8.0) -> str | None:
    """Say what ails the gateway at this address; None: nothing."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=timeout_s):  # noqa: S310 - http
            return None
    except urllib.error.HTTPError as refusal:
        return f"not ready: {refusal.read(2000).decode(errors='replace')}"
    except OSError as problem:
        return f"does not answer: {problem}"


def worker(file: Path, within_s: float = WORKED_WITHIN_S) -> str | None:
    """Say what ails the worker that notes its tasks in this file; None: nothing."""
    try:
        age_s = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return "no task of the schedule came back yet"
    return None if age_s <= within_s else f"the last task came back {age_s:.0f} s ago"


def worker_file(runtime_dir: Path) -> Path:
    """Where a worker notes that it worked."""
    return runtime_dir / "worked"


def main() -> None:
    """Check what the command line names."""
    which = sys.argv[1] if len(sys.argv) == 2 else ""
    if which == "gateway":
        problem = gateway(f"http://127.0.0.1:{os.environ.get('BONDHU__GATEWAY__PORT', '8000')}")
    elif which == "worker":
        runtime = os.environ.get("BONDHU__RUNTIME_DIR", f"{tempfile.gettempdir()}/bondhu")
        problem = worker(worker_file(Path(runtime)))
    else:
        problem = "usage: python -m serving.supervisor.health_check gateway|worker"
    if problem is not None:
        sys.exit(problem)


if __name__ == "__main__":
    main()
