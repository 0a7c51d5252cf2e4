"""Copies the files of a backup, other than the database, to a staging folder.

The ledger's journals are copied before the database. A record that is settled in between is then in both, and replay
skips it; in the opposite order it would be in neither.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from serving.backup.manifest import BackupFile, Base, Part
from serving.config.credentials import dev_env, secrets_env
from serving.config.schema import Settings
from serving.ledger.write_ahead_log import HEADER_BYTES, WriteAheadLog

JOURNALS, AUDIT, APPLIED = "ledger", "audit", "run/applied.json"
FILES = "files"


def journals(settings: Settings, staging: Path) -> Iterator[BackupFile]:
    """Copy the ledger's journals: complete lines of those in use, and rejected ones."""
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
        except FileNotFoundError:  # settled and removed in the meantime
            continue
        yield _recorded(target, staging, "var", name, "journals")


def other_files(settings: Settings, staging: Path) -> Iterator[BackupFile]:
    """Copy secrets, the applied document, audit logs, configuration and adapters."""
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
        is_in_root = path.is_relative_to(root)
        base: Base = "root" if is_in_root else "absolute"
        name = path.relative_to(root).as_posix() if is_in_root else path.as_posix()
        yield from _copy(path, staging, base, name, "adapters")


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _adapter_files(settings: Settings) -> list[Path]:
    paths = {settings.root / adapter.path for spec in settings.catalogue.values() for adapter in spec.adapters}
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
    return sorted(files)


def _copy_journal(path: Path, target: Path) -> None:
    """Copy complete lines as unsettled; skips a line that is being written or is damaged."""
    source = os.open(path, os.O_RDONLY)
    try:
        lines = [line.raw for line in WriteAheadLog(path, source).lines() if line.record is not None]
    finally:
        os.close(source)
    journal = WriteAheadLog.create(target)
    journal.close()
    assert target.stat().st_size == HEADER_BYTES, "a new journal has only its header"
    with target.open("ab") as file:
        file.writelines(lines)


def _copy(path: Path, staging: Path, base: Base, name: str, category: Part) -> Iterator[BackupFile]:
    target = _target(staging, base, name)
    try:
        shutil.copyfile(path, target)
    except FileNotFoundError:
        return
    yield _recorded(target, staging, base, name, category)


def _target(staging: Path, base: Base, name: str) -> Path:
    target = staging / FILES / base / name.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _recorded(target: Path, staging: Path, base: Base, name: str, category: Part) -> BackupFile:
    if base == "var":
        target.chmod(0o600)
    member = target.relative_to(staging).as_posix()
    return BackupFile(member=member, base=base, path=name, part=category, sha256=sha256(target))
