"""A directory that appears completely or not at all: written beside its place under a lock, synced, renamed.

A killed process leaves a hidden directory, which the next fetch of the same model removes. This module does not know
what is written.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from models.fetch.errors import DiskFull

STAGE_PREFIX = ".part-"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what the system says when there is no room


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path | None]:
    """Yield a directory that becomes `target` at the end of the block, or None if `target` exists.

    It waits for other processes that fetch the same model. If the block raises, everything it wrote is removed.

    Raises:
        DiskFull: an OSError within the block said so.

    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in target.parent.glob(f"{STAGE_PREFIX}{target.name}-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        if target.is_dir():
            yield None
            return
        stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{STAGE_PREFIX}{target.name}-"))
        try:
            yield stage
            _sync(stage)
            stage.rename(target)
            _sync_directory(target.parent)
        except OSError as problem:
            if problem.errno in FULL:
                raise DiskFull(target.parent) from problem
            raise
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _sync(directory: Path) -> None:
    """Flush everything below to disk, so that the rename cannot survive a crash without the content."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder) / name
            path.chmod(0o600)  # as everything in the service's folders; the stage is 0o700
            with path.open("rb") as file:
                os.fsync(file.fileno())
        _sync_directory(Path(folder))


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
