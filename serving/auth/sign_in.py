"""One-time sign-in links for the web page: created by the operator, exchanged by a browser for the page's API key.

A link's code has 256 random bits. Its digest is the name of an empty file in `var_dir`, so the code itself is not
stored; deleting the file uses the code up. The page's key belongs to its own application and is not an admin key. This
module does not know HTTP.
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
    """Create a code that can be used once, within LINK_MINUTES; expired codes are deleted."""
    folder = var_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in folder.iterdir():
        if _is_late(old, clock()):
            old.unlink(missing_ok=True)
    code = secrets.token_urlsafe(32)
    _file(var_dir, code).touch(mode=0o600)
    return code


def redeem(var_dir: Path, code: str, clock: Callable[[], float] = time.time) -> str | None:
    """Exchange a code for the page's key; None if the code is unknown, expired or used, or there is no key."""
    file = _file(var_dir, code)
    try:
        is_late = _is_late(file, clock())
        file.unlink()
    except FileNotFoundError:
        return None
    return None if is_late else read_env_file(secrets_env(var_dir)).get(PAGE_KEY)


def link(gateway_url: str, code: str) -> str:
    """The URL to open; the code is in the fragment, which browsers do not send to servers."""
    return f"{gateway_url}/#once={code}"


def _file(var_dir: Path, code: str) -> Path:
    return var_dir / FOLDER / hashlib.sha256(code.encode("utf-8", "surrogateescape")).hexdigest()


def _is_late(file: Path, now: float) -> bool:
    return file.stat().st_mtime + 60 * LINK_MINUTES < now
