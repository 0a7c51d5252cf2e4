"""A running stack's files in var/run: its lock, and its state for `bondhu status`.

The lock (`up.lock`) is an flock(2) on an open file that `bondhu up` passes through the reaper to the supervisor, so it
is only free when both are gone and everything is cleaned up. The file names both processes; a process id is only
trusted while the lock is held.
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
    """Another stack holds the lock; `details` is the content of its lock file."""

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
            time.sleep(0.02)  # `holder` briefly takes the lock to check whether it is free
        else:
            os.ftruncate(fd, 0)
            return fd
    details = read_lock(fd)
    os.close(fd)
    raise AlreadyRunning(details)


def write_lock(fd: int, details: Mapping[str, Any]) -> None:
    """Write the holder's process ids (`reaper` and `supervisor`) and URLs to the lock file."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(details).encode(), 0)


def holder(var_dir: Path) -> Mapping[str, Any] | None:
    """Return the content of the running stack's lock file; None if no stack is running."""
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
    """Replace var/run/state.json atomically."""
    path = var_dir / "run/state.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state))
    new.replace(path)


def read_state(var_dir: Path) -> dict[str, Any]:
    """Return the supervisor's last state; empty without one."""
    try:
        state: dict[str, Any] = json.loads((var_dir / "run/state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return state


def _path(var_dir: Path) -> Path:
    return var_dir / "run/up.lock"


def read_lock(fd: int) -> dict[str, Any]:
    """Return the content of the lock file."""
    text = os.pread(fd, 65536, 0)
    try:
        details = json.loads(text or b"{}")
    except json.JSONDecodeError:
        return {}  # it is being written
    return details if isinstance(details, dict) else {}
