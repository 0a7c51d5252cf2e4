"""The folder of backups: their names, which contain the time, and which ones to delete."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from serving.backup.errors import BackupError

FULL, LIST = "bondhu", "erasures"
SUFFIX = ".tar.age"
_TIME = "%Y%m%dT%H%M%S.%fZ"


def name_of(made_at: datetime, *, is_list: bool = False) -> str:
    """The file's name; names sort by time."""
    return f"{LIST if is_list else FULL}-{made_at.astimezone(UTC).strftime(_TIME)}{SUFFIX}"


def backups(folder: Path) -> list[Path]:
    """Return the full backups in it, oldest first."""
    return sorted(folder.glob(f"{FULL}-*{SUFFIX}"))


def archives(folder: Path) -> list[Path]:
    """Return all archives with a list of erasures in it."""
    return sorted((*backups(folder), *folder.glob(f"{LIST}-*{SUFFIX}")))


def newest(folder: Path) -> Path:
    """Return the newest full backup; raises BackupError if there is none."""
    full = backups(folder)
    if not full:
        raise BackupError(f"{folder} has no backups")
    return full[-1]


def outdated(names: Iterable[str], keep: int) -> list[str]:
    """Of archives' names, all but the newest `keep` full backups, and lists older than the newest one.

    A full backup contains all older lists.
    """
    names = sorted(name for name in names if name.endswith(SUFFIX))
    full = [name for name in names if name.startswith(f"{FULL}-")]
    found = full[: max(0, len(full) - keep)]
    if full:
        newest_at = full[-1].removeprefix(FULL)
        lists = (name for name in names if name.startswith(f"{LIST}-"))
        found += [name for name in lists if name.removeprefix(LIST) < newest_at]
    return found


def prune(folder: Path, keep: int) -> list[Path]:
    """Delete what is outdated in the folder; returns the deleted files."""
    found = [folder / name for name in outdated((path.name for path in archives(folder)), keep)]
    for path in found:
        path.unlink(missing_ok=True)
    return found
