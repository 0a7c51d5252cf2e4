"""The files that belong into a backup beside the database, copied below a staging folder.

The ledger's journals are copied before the database is: what is settled in between is then in the database, and what
ended in between may be in both, which replay skips. The other way round it would be in neither.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from serving.backup.manifest import Base, KeptFile, Part
from serving.config.credentials import dev_env, secrets_env
from serving.config.schema import Settings
from serving.ledger.write_ahead_log import HEADER_BYTES, WriteAheadLog

JOURNALS, AUDIT, APPLIED = "ledger", "audit", "run/applied.json"
FILES = "files"


def journals(settings: Settings, staging: Path) -> Iterator[KeptFile]:
    """The ledger's: every whole line of those that workers write now, and what was set aside."""
    for path in sorted((settings.var_dir / JOURNALS).glob("*")):
        name = f"{JOURNALS}/{path.name}"
        target = _target(staging, "var", name)
        try:
            if path.suffix == ".journal":
                _copy_journal(path, target)
            elif path.suffix == ".rejected":
                shutil.copyfile(path, target)
            else:
                continue
        except FileNotFoundError:  # settled and removed meanwhile
            continue
        yield _kept(target, staging, "var", name, "journals")


def others(settings: Settings, staging: Path) -> Iterator[KeptFile]:
    """Secrets, the applied document, audit logs, configuration, adapters."""
    var, root = settings.var_dir, settings.root
    for path in (secrets_env(var), dev_env(var)):
        yield from _copy(path, staging, "var", str(path.relative_to(var)), "secrets")
    yield from _copy(var / APPLIED, staging, "var", APPLIED, "applied")
    for path in sorted((var / AUDIT).glob("*.jsonl")):
        yield from _copy(path, staging, "var", f"{AUDIT}/{path.name}", "audit")
    for path in sorted((root / "configs").rglob("*")):
        if path.is_file():
            yield from _copy(path, staging, "root", path.relative_to(root).as_posix(), "configuration")
    for path in _adapter_files(settings):
        inside = path.is_relative_to(root)
        base: Base = "root" if inside else "absolute"
        name = path.relative_to(root).as_posix() if inside else path.as_posix()
        yield from _copy(path, staging, base, name, "adapters")


def sha256(file: Path) -> str:
    """Of its content, in hex."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _adapter_files(settings: Settings) -> list[Path]:
    places = {settings.root / adapter.path for spec in settings.catalogue.values() for adapter in spec.adapters}
    files = {file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()}
    return sorted(files)


def _copy_journal(path: Path, target: Path) -> None:
    """Copy its whole lines, none of them settled; a line that is being written, or is damaged, is left out."""
    source = os.open(path, os.O_RDONLY)
    try:
        lines = [line.raw for line in WriteAheadLog(path, source).lines() if line.record is not None]
    finally:
        os.close(source)
    journal = WriteAheadLog.create(target)
    journal.close()
    assert target.stat().st_size == HEADER_BYTES, "a new one has its header only"
    with target.open("ab") as file:
        file.writelines(lines)


def _copy(path: Path, staging: Path, base: Base, name: str, part: Part) -> Iterator[KeptFile]:
    target = _target(staging, base, name)
    try:
        shutil.copyfile(path, target)
    except FileNotFoundError:
        return
    yield _kept(target, staging, base, name, part)


def _target(staging: Path, base: Base, name: str) -> Path:
    target = staging / FILES / base / name.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _kept(target: Path, staging: Path, base: Base, name: str, part: Part) -> KeptFile:
    if base == "var":
        target.chmod(0o600)
    member = target.relative_to(staging).as_posix()
    return KeptFile(member=member, base=base, path=name, part=part, sha256=sha256(target))
