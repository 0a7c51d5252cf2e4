"""The health checks of containers: `python -m serving.supervisor.health_check gateway|worker`, exit code 0 for healthy.

A gateway is healthy if every served model generated recently: /ready is checked, not just whether the process lives. A
worker is healthy if it completed a scheduled task recently, which went through Redis. It only uses the standard
library, because it is started every half minute and must be cheap.
"""

import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

WORKED_WITHIN_S = 420.0  # a task may take 300 s, and the next scheduled one follows within 30 s


def gateway(url: str, timeout_s: float = 8.0) -> str | None:
    """Return what is wrong with the gateway at this URL; None if it is healthy."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=timeout_s):  # noqa: S310 - http
            return None
    except urllib.error.HTTPError as refusal:
        return f"not ready: {refusal.read(2000).decode(errors='replace')}"
    except OSError as problem:
        return f"does not respond: {problem}"


def worker(file: Path, within_s: float = WORKED_WITHIN_S) -> str | None:
    """Return what is wrong with the worker that touches this file after each task; None if it is healthy."""
    try:
        age_s = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return "no scheduled task has completed yet"
    return None if age_s <= within_s else f"the last scheduled task completed {age_s:.0f} s ago"


def worker_file(runtime_dir: Path) -> Path:
    """The file that a worker touches after each task."""
    return runtime_dir / "worked"


def main() -> None:
    """Check the process that the command line names."""
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
