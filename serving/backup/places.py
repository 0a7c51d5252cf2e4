"""The folder that backups are kept in: their names, which say when, and which of them may go."""

from datetime import UTC, datetime
from pathlib import Path

from serving.backup.errors import BackupError

WHOLE, LIST = "bondhu", "erasures"
SUFFIX = ".tar.age"
_TIME = "%Y%m%dT%H%M%S.%fZ"


def name_of(made_at: datetime, *, is_list: bool = False) -> str:
    """The file's name; names sort by time."""
    return f"{LIST if is_list else WHOLE}-{made_at.astimezone(UTC).strftime(_TIME)}{SUFFIX}"


def backups(folder: Path) -> list[Path]:
    """The whole backups in it, oldest first."""
    return sorted(folder.glob(f"{WHOLE}-*{SUFFIX}"))


def archives(folder: Path) -> list[Path]:
    """All in it that have a list of erasures."""
    return sorted((*backups(folder), *folder.glob(f"{LIST}-*{SUFFIX}")))


def newest(folder: Path) -> Path:
    """The newest whole backup; raises BackupError when there is none."""
    found = backups(folder)
    if not found:
        raise BackupError(f"{folder} has no backups")
    return found[-1]


def prune(folder: Path, keep: int) -> list[Path]:
    """Delete all but the newest `keep` whole backups, and lists older than the newest; returns what went.

    A list that is older than a whole backup is in it as well.
    """
    whole = backups(folder)
    gone = whole[: max(0, len(whole) - keep)]
    if whole:
        newest_at = whole[-1].name.removeprefix(WHOLE)
        gone += [path for path in folder.glob(f"{LIST}-*{SUFFIX}") if path.name.removeprefix(LIST) < newest_at]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone
