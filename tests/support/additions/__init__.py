"""Extends the service as a contributor would: with a folder, and a line in the module that lists all folders.

The packages of the repository are linked into a directory that comes first on the path; one file is rewritten.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent


def add(into: Path, package: str, folder: str, registry: str, changes: Mapping[str, str]) -> dict[str, str]:
    """Add a folder to a package, and to the module that names the package's folders what is registered there.

    Args:
        into: a directory of the test's.
        package: at the root of the repository.
        folder: beside this module.
        registry: that module's file.
        changes: what stands in it, and what stands there instead.

    Returns the environment of a process that is to have it.

    """
    target = into / package
    target.mkdir(parents=True)
    for entry in (ROOT / package).iterdir():
        if entry.name not in (registry, "__pycache__"):
            (target / entry.name).symlink_to(entry)
    shutil.copytree(HERE / folder, target / folder)
    text = (ROOT / package / registry).read_text()
    for old, new in changes.items():
        assert old in text, f"{registry} has no {old!r}"
        text = text.replace(old, new, 1)
    (target / registry).write_text(text)
    return {"PYTHONPATH": f"{into}:{ROOT}", "PYTHONSAFEPATH": "1"}
