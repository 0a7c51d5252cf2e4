"""The revision of weights on this machine: a hash of their files."""

import hashlib
from pathlib import Path

HEX_DIGITS = 12
UNKNOWN = "unknown"
CONFIG = "adapter_config.json"  # its scale changes what an adapter's weights do


def weights_revision(path: Path) -> str:
    """12 hex digits of the SHA-256 of the weights in a file or a folder; "unknown" if there are none."""
    if path.is_file():
        return _hash([path])
    weights = sorted(path.glob("*.safetensors"))
    return _hash(weights) if weights else UNKNOWN


def adapter_revision(path: Path) -> str:
    """The same for an adapter, of whose revision its configuration is a part."""
    config = path / CONFIG
    if not config.is_file():
        return weights_revision(path)
    weights = sorted(path.glob("*.safetensors"))
    return _hash([config, *weights]) if weights else UNKNOWN


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:HEX_DIGITS]
