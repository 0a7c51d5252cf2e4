"""What the service keeps is its own user's alone: the database and its log, Redis' dump, logs, keys.

Processes are started with a umask that lets no other user read what they make; what was made before that, or copied
there by hand, is mended at each start, and `bondhu status` says what is open. Links are left alone, and so is what
belongs to another user.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from serving.config_schema import Settings

UMASK = 0o077


def keep_private() -> None:
    """Have this process and those that it starts make files that only their user can read."""
    os.umask(UMASK)


def private_paths(settings: Settings) -> tuple[Path, ...]:
    """Where the service keeps things: `var_dir`, and a SQLite file elsewhere with those beside it."""
    url = settings.database.url or ""
    if not url.startswith("sqlite"):
        return (settings.var_dir,)
    file = Path(url.partition(":///")[2].partition("?")[0])
    return (settings.var_dir, *(file.with_name(file.name + end) for end in ("", "-wal", "-shm", "-journal")))


def mend(paths: Iterable[Path]) -> int:
    """Take from other users what they could do with files and folders of ours; how many there were."""
    mended = 0
    for path in exposed(paths):
        try:
            path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~UMASK)
        except FileNotFoundError:
            continue
        mended += 1
    return mended


def exposed(paths: Iterable[Path]) -> Iterator[Path]:
    """The files and folders of ours at or below `paths` that other users can do anything with."""
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
