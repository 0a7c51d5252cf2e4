"""Looks every pinned package up in PyPI's advisories, with pip-audit: `make audit`.

    python deploy/audit.py PIP_AUDIT LOCK...

Exit status 0: none is known to be vulnerable; 1: some are; 3: the advisories could not be reached, so nothing is known.
make turns both into its own 2: the last line says which it was.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

VULNERABLE, UNKNOWN = 1, 3


def pins(lock: Path) -> str:
    """A lock file without hashes; torch's CPU build is known to PyPI by its plain version."""
    lines = (re.sub(r" *\\$", "", line) for line in lock.read_text().splitlines() if "--hash" not in line)
    return "\n".join(re.sub(r"^(torch==[0-9.]+)\+cpu", r"\1", line) for line in lines) + "\n"


def audit(program: str, lock: Path) -> int:
    """Look one lock file up and print what was found; return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / lock.name
        file.write_text(pins(lock))
        options = ("--strict", "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")
        done = subprocess.run(
            [program, *options, "--requirement", str(file)], capture_output=True, text=True, check=False
        )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"{lock.stem}: not looked up: {last}")
        return UNKNOWN
    found = [f"{each['name']} {each['version']}: {bug['id']}" for each in packages for bug in each.get("vulns", ())]
    print(f"{lock.stem}: {len(packages)} packages looked up, {len(found)} advisories", *found, sep="\n  ")
    return VULNERABLE if found else 0


def main() -> None:
    """See the module's docstring."""
    program, *locks = sys.argv[1:]
    statuses = [audit(program, Path(lock)) for lock in locks]
    if VULNERABLE in statuses:
        print("audit: some of the pinned packages are known to be vulnerable")
        sys.exit(VULNERABLE)
    if UNKNOWN in statuses:
        print("audit: NOT DONE: PyPI's advisories could not be reached, nothing is known about these packages")
        sys.exit(UNKNOWN)
    print("audit: nothing is known against any of the pinned packages")


if __name__ == "__main__":
    main()
