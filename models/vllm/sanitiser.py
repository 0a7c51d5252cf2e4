"""What vLLM's server does to its error messages, in linear time.

vLLM's own `sanitize_message` (0.29) takes paths and addresses out of every error message by expressions that backtrack
on what a client wrote into the message: 40 kB of `/a/a/a` hold its event loop for a minute (GHSA-f2g9-pmwr-xwc7).
`install` puts this one in its place wherever it was imported. It does not know what the messages are about.
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
_PATH = re.compile(r"(?<![\w.\-/])/[\w.\-/]+")  # a run of path characters is read once
_SYSTEM = ("home/", "usr/", "opt/", "var/", "tmp/", "root/", "lib/", "mnt/", "srv/")


def sanitize_message(message: str) -> str:
    """The message, cut, without memory addresses, tracebacks and the paths of files."""
    if len(message) > MAX_CHARACTERS:
        message = message[:MAX_CHARACTERS] + "…"
    message = _FRAME.sub("", _ADDRESS.sub(">", message))
    return _PATH.sub(_path, message).strip()


def install() -> int:
    """Replace vLLM's function in every module that has it; returns how many had.

    Raises ImportError where vLLM has moved it: then nobody knows what it does now, and the server must not start.
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
    raise ImportError(f"vLLM has sanitize_message in none of {', '.join(ORIGINALS)}", name="vllm")


def _holds(module: ModuleType, original: object) -> bool:
    return module.__dict__.get("sanitize_message") is original


def _path(match: re.Match[str]) -> str:
    path = match[0][1:]
    is_file = path.count("/") > 0 and "." in path.rpartition("/")[2]
    return "<path>" if is_file or path.startswith(_SYSTEM) else match[0]
