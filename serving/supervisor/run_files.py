"""A running stack's traces under var/run: the lock that says that it runs, and its state for people.

The lock (`up.lock`) is an flock(2) whose open file `bondhu up` hands down through the tether to the
supervisor, so it is free only when both are gone and all is cleaned up; the text in it names them. No process
id is trusted without the lock being held.
"""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOOKERS_GONE_TRIES = 10


class AlreadyRunning(Exception):
    """Another stack holds this directory; `details` is what it wrote into its lock."""

    def __init__(self, details: Mapping[str, Any]) -> None:
        super().__init__("a stack is already running")
        self.details = details


def acquire_lock(var_dir: Path) -> int:
    """Return a file descriptor that holds the lock; raises AlreadyRunning."""
    path = _path(var_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(LOOKERS_GONE_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)  # `holder` takes the lock for a moment to see whether it is free
        else:
            os.ftruncate(fd, 0)
            return fd
    details = read_lock(fd)
    os.close(fd)
    raise AlreadyRunning(details)


def write_lock(fd: int, details: Mapping[str, Any]) -> None:
    """Say in the lock file who holds it (process ids `tether` and `supervisor`) and the addresses."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(details).encode(), 0)


def holder(var_dir: Path) -> Mapping[str, Any] | None:
    """Return what the running stack wrote into its lock, None when none runs."""
    try:
        fd = os.open(_path(var_dir), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_lock(fd)
    finally:
        os.close(fd)
    return None


def write_state(var_dir: Path, state: Mapping[str, Any]) -> None:
    """Replace var/run/state.json, all or nothing."""
    path = var_dir / "run/state.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state))
    new.replace(path)


def read_state(var_dir: Path) -> dict[str, Any]:
    """Return the supervisor's last state; empty before there is one."""
    try:
        state: dict[str, Any] = json.loads((var_dir / "run/state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return state


def _path(var_dir: Path) -> Path:
    return var_dir / "run/up.lock"


def read_lock(fd: int) -> dict[str, Any]:
    """Return what the lock file says."""
    text = os.pread(fd, 65536, 0)
    try:
        details = json.loads(text or b"{}")
    except json.JSONDecodeError:
        return {}  # read while it was written
    return details if isinstance(details, dict) else {}
