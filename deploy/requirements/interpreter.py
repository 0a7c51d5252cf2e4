"""Says that an interpreter will not do, before anything is installed: `python interpreter.py PROFILE`.

The CPU build of torch is a wheel for one version of Python each. Where pip is told to look in folders of this machine
(`find-links` of its settings) and they have that wheel for other versions only, pip would end in a conflict that names
neither. Where no folder has it, pip asks PyTorch's own index, and this says nothing. Standard library alone: it runs
before there is a virtual environment.
"""

import configparser
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOCK = Path(__file__).with_name("cpu.txt")


def folders(environ: Mapping[str, str]) -> Iterable[Path]:
    """Where pip looks for wheels on this machine (https://pip.pypa.io/en/stable/topics/configuration/)."""
    home = Path(environ.get("HOME", "/"))
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    shared = [Path(each) for each in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")]
    files = [*(each / "pip/pip.conf" for each in shared), Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    files += [own / "pip/pip.conf", *([Path(environ["PIP_CONFIG_FILE"])] if environ.get("PIP_CONFIG_FILE") else [])]
    settings = configparser.RawConfigParser(strict=False)
    settings.read(files)
    named = [environ.get("PIP_FIND_LINKS", "")]
    named += [settings.get(section, "find-links", fallback="") for section in ("global", "install")]
    for place in " ".join(named).split():
        url = urlsplit(place)
        yield Path(unquote(url.path) if url.scheme == "file" else place).expanduser()


def problem(version: tuple[int, int], torch: str, places: Iterable[Path]) -> str | None:
    """Why torch cannot be installed from what is at hand; None: it can, or none is at hand."""
    tags: dict[str, Path] = {}
    for place in places:
        for wheel in place.glob(f"torch-{torch}-*.whl"):
            tags.setdefault(wheel.name.split("-")[2], place)
    own = "cp{}{}".format(*version)
    if not tags or own in tags:
        return None
    has = sorted(re.sub(r"^cp3", "3.", tag) for tag in tags)
    return (
        f"This is Python {version[0]}.{version[1]}, and the CPU build of torch {torch} in {next(iter(tags.values()))} "
        f"is for Python {' and '.join(has)}.\nInstall Python {has[0]} and say: make PYTHON=/path/to/python{has[0]}\n"
        f"or put the wheel for Python {version[0]}.{version[1]} beside it (https://download.pytorch.org/whl/cpu)."
    )


if __name__ == "__main__":
    pinned = re.search(r"^torch==(\S+)", LOCK.read_text(), re.M)
    assert pinned, f"{LOCK} pins torch"
    message = problem(sys.version_info[:2], pinned[1], folders(os.environ)) if sys.argv[1:] == ["cpu"] else None
    sys.exit(message and f"{sys.executable}: {message}")
