"""The part of a restore that happens after the decision: files leave, others take their places. May be repeated."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from serving.backup.manifest import Frozen


class Plan(Frozen):
    """`removes` are paths; `moves` lead from below the working folder to paths."""

    id: str
    moves: tuple[tuple[str, str], ...]
    removes: tuple[str, ...]


def place_all(plan: Plan, work: Path, report: Callable[[str], None] = lambda _: None) -> None:
    """Do what is left to do; what is in its place is no longer below `work`."""
    for name in plan.removes:
        if name not in {target for _, target in plan.moves}:  # a journal of the same name is replaced, not lost
            Path(name).unlink(missing_ok=True)
    report("the old is removed")
    for source, target in plan.moves:
        if (work / source).exists():
            _move(work / source, Path(target))
            report(f"in its place: {target}")


def _move(source: Path, target: Path) -> None:
    """Rename it, or, to another file system, copy and then rename; private as what it was."""
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
