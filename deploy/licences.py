"""Writes docs/licences.md: the licence of every package that is installed, as its own metadata states it.

    .venv/bin/python deploy/licences.py [--check]        in an environment that cpu.txt filled

The packages are those of cpu.txt (`small.txt` and `worker.txt` are parts of it) and of gpu.txt; what is in gpu.txt only
is not installed here, and is listed without a licence. It does not judge: whether licences go together is for a person
to say.
"""

import importlib.metadata
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS, PAGE = ROOT / "deploy/requirements", ROOT / "docs/licences.md"
MAX_CHARS = 60
HEAD = """# Licences

Of every Python package in the locks, as its own metadata states it. `make licences` writes this page; a test
compares it with the locks. `make sbom` writes the same as CycloneDX.

The service itself: Apache-2.0. Models: SmolLM2-135M-Instruct (Hugging Face, Apache-2.0), all-MiniLM-L6-v2 (Apache-2.0),
and our own [demonstration model](../models/demo/README.md) and [companion](../models/companion/README.md) (Apache-2.0).
The images add Debian's packages: their licences are in `/usr/share/doc/*/copyright`.

"""


def pins(lock: str) -> set[tuple[str, str]]:
    """Names and versions; one name may have several, by platform."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", (LOCKS / f"{lock}.txt").read_text(), re.MULTILINE)
    return {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in found}


def licence_of(name: str) -> str:
    """What a package states: an SPDX expression, its classifiers, or the first line of its text; "" for none."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed here)"
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", []) if "License ::" in each]
    stated = [each for each in classifiers if each != "OSI Approved"]
    text = next((line.strip() for line in str(metadata.get("License") or "").splitlines() if line.strip()), "")
    return "; ".join(sorted(stated)) or text[:MAX_CHARS] or "(none stated)"


def page() -> str:
    """The whole page."""
    here, gpu = pins("cpu"), pins("gpu")
    rows = [(name, version, licence_of(name), "cpu") for name, version in sorted(here)]
    others = sorted(gpu - here)
    rows += [(name, version, licence_of(name), "gpu") for name, version in others]
    counts = Counter(licence for _, _, licence, _ in rows).most_common()
    lines = ["| licence | packages |", "| --- | --- |", *(_row(licence, count) for licence, count in counts), ""]
    lines += ["| package | version | licence | lock |", "| --- | --- | --- | --- |", *(_row(*row) for row in rows)]
    return HEAD + "\n".join(lines) + "\n"


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def main() -> None:
    """Write the page, or say that it is not what it should be."""
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE} is old: run python deploy/licences.py")
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
