"""Keeps the service's files private to its user: the database, Redis's dump, logs, keys.

Processes run with a umask that denies other users all access. Files that were created before that, or copied there by
hand, are corrected at each start, and `bondhu status` reports files that are still open. Symbolic links and files of
other users are not changed.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from serving.config.schema import Settings

UMASK = 0o077


def keep_private() -> None:
    """Set the umask so that this process and its children create files that only their user can read."""
    os.umask(UMASK)


def private_paths(settings: Settings) -> tuple[Path, ...]:
    """The paths that the service writes to: `var_dir`, and a SQLite file elsewhere with its journal files."""
    url = settings.database.url or ""
    if not url.startswith("sqlite"):
        return (settings.var_dir,)
    file = Path(url.partition(":///")[2].partition("?")[0])
    return (settings.var_dir, *(file.with_name(file.name + end) for end in ("", "-wal", "-shm", "-journal")))


def mend(paths: Iterable[Path]) -> int:
    """Remove other users' permissions from our files and folders below `paths`; returns how many were changed."""
    mended = 0
    for path in exposed(paths):
        try:
            path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~UMASK)
        except FileNotFoundError:
            continue
        mended += 1
    return mended


def exposed(paths: Iterable[Path]) -> Iterator[Path]:
    """Our files and folders at or below `paths` on which other users have any permission."""
    for root in paths:
        yield from (path for path in _below(root) if _is_open(path))


def _below(root: Path) -> Iterator[Path]:
    yield root
    if root.is_dir() and not root.is_symlink():
        for folder, folders, files in os.walk(root):
            yield from (Path(folder, name) for name in (*folders, *files))


def _is_open(path: Path) -> bool:
    try:
        about = path.lstat()
    except FileNotFoundError:
        return False
    is_ours = about.st_uid == os.getuid() and not stat.S_ISLNK(about.st_mode)
    return is_ours and bool(about.st_mode & UMASK)
