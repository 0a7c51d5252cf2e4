"""Removes paths and memory addresses from vLLM's error messages, in linear time.

vLLM's own `sanitize_message` (0.29) does this with regular expressions that backtrack on what a client wrote into the
message: 40 kB of `/a/a/a` block its event loop for a minute (GHSA-f2g9-pmwr-xwc7). `install` replaces it wherever it
was imported.
"""

import contextlib
import importlib
import re
import sys
from types import ModuleType
from typing import Any

ORIGINALS = (  # where vLLM keeps it: 0.29, 0.26
    "vllm.entrypoints.serve.exception_handling.utils",
    "vllm.entrypoints.serve.utils.api_utils",
)
MAX_CHARACTERS = 2000  # of a message; no error of vLLM's own needs as many
_ADDRESS = re.compile(r" at 0x[0-9a-f]{1,16}>")
_FRAME = re.compile(r'\n? {0,20}File "[^"\n]{1,500}", line \d{1,9}, in \S{1,200}(?:\n {1,20}[^\n]{0,500})?')
_PATH = re.compile(r"(?<![\w.\-/])/[\w.\-/]+")  # reads each path character once
_SYSTEM = ("home/", "usr/", "opt/", "var/", "tmp/", "root/", "lib/", "mnt/", "srv/")


def sanitize_message(message: str) -> str:
    """Return the message, truncated, without memory addresses, tracebacks and file paths."""
    if len(message) > MAX_CHARACTERS:
        message = message[:MAX_CHARACTERS] + "…"
    message = _FRAME.sub("", _ADDRESS.sub(">", message))
    return _PATH.sub(_path, message).strip()


def install() -> int:
    """Replace vLLM's function in every module that has it; return the number of those modules.

    Raises ImportError if vLLM has moved the function, so that the server does not start unprotected.
    """
    original = _original()
    if original is sanitize_message:
        return 0
    holders = [each for each in list(sys.modules.values()) if isinstance(each, ModuleType) and _holds(each, original)]
    for holder in holders:
        holder.__dict__["sanitize_message"] = sanitize_message
    return len(holders)


def _original() -> Any:
    for name in ORIGINALS:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(name).sanitize_message
    raise ImportError(f"vLLM's sanitize_message is in none of {', '.join(ORIGINALS)}", name="vllm")


def _holds(module: ModuleType, original: object) -> bool:
    return module.__dict__.get("sanitize_message") is original


def _path(match: re.Match[str]) -> str:
    path = match[0][1:]
    is_file = path.count("/") > 0 and "." in path.rpartition("/")[2]
    return "<path>" if is_file or path.startswith(_SYSTEM) else match[0]
