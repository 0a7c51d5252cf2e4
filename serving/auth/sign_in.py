"""Links that open the page once: made by who runs the service, exchanged by a browser for the page's key.

A link's code is 256 random bits. Its digest is the name of an empty file in `var_dir`, so that the code itself is kept
nowhere; whoever removes that file has used it, and nobody can twice. The page's key belongs to an application of its
own, and is nobody's administrator's. It does not know HTTP.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from serving.config.credentials import PAGE_KEY, read_env_file, secrets_env

LINK_MINUTES = 15
FOLDER = "sign-in"


def make_code(var_dir: Path, clock: Callable[[], float] = time.time) -> str:
    """A code that is good once, for LINK_MINUTES; those that nobody used in time are swept away."""
    folder = var_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in folder.iterdir():
        if _is_late(old, clock()):
            old.unlink(missing_ok=True)
    code = secrets.token_urlsafe(32)
    _file(var_dir, code).touch(mode=0o600)
    return code


def redeem(var_dir: Path, code: str, clock: Callable[[], float] = time.time) -> str | None:
    """The page's key for a code; None when it is none, is late or was used, or when there is no key."""
    file = _file(var_dir, code)
    try:
        is_late = _is_late(file, clock())
        file.unlink()
    except FileNotFoundError:
        return None
    return None if is_late else read_env_file(secrets_env(var_dir)).get(PAGE_KEY)


def link(gateway_url: str, code: str) -> str:
    """The address to open: the code stands after the #, which browsers send to nobody."""
    return f"{gateway_url}/#once={code}"


def _file(var_dir: Path, code: str) -> Path:
    return var_dir / FOLDER / hashlib.sha256(code.encode("utf-8", "surrogateescape")).hexdigest()


def _is_late(file: Path, now: float) -> bool:
    return file.stat().st_mtime + 60 * LINK_MINUTES < now
