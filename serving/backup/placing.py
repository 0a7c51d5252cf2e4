"""The part of a restore after the decision: removes old files and moves the restored ones; may be repeated."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from serving.backup.manifest import Frozen


class Plan(Frozen):
    """Paths to remove, and moves from below the working folder to paths."""

    id: str
    moves: tuple[tuple[str, str], ...]
    removes: tuple[str, ...]


def place_all(plan: Plan, work: Path, report: Callable[[str], None] = lambda _: None) -> None:
    """Execute the rest of the plan; files that are already moved are no longer below `work`."""
    for name in plan.removes:
        if name not in {target for _, target in plan.moves}:  # a journal of the same name is replaced, not lost
            Path(name).unlink(missing_ok=True)
    report("old files are removed")
    for source, target in plan.moves:
        if (work / source).exists():
            _move(work / source, Path(target))
            report(f"restored: {target}")


def _move(source: Path, target: Path) -> None:
    """Rename a file; to another file system, copy it, then rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:  # another file system
        new = target.with_name(f".{target.name}.restored")
        shutil.copyfile(source, new)
        with new.open("rb") as content:
            os.fsync(content.fileno())
        new.replace(target)
        source.unlink()
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
